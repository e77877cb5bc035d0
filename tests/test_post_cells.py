"""The worked examples of the post run unchanged and print what they printed."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

LOSS_OF_THE_POST = "class BCEWithLogitsLossFlat(BaseLoss):"


@pytest.fixture(scope="module")
def notebook():
    """The namespace of a notebook that has run the post's first cell."""
    namespace = {}
    exec("from mlclassify.vision.all import *", namespace)
    return namespace


def run_cell(code, namespace):
    """Run a cell as IPython would and return the value of its last expression."""
    tree = ast.parse(code)
    last = tree.body.pop()
    exec(compile(tree, "<cell>", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)


def test_cells_print_what_they_printed(shared, notebook):
    cells = json.loads(Path(shared("post_cells.json")).read_text(encoding="utf-8"))
    assert len(cells) == 22
    for cell in cells:
        kind, _, sentence = cell["output"].partition(": ")
        if kind == "ValueError":  # our messages name function and argument first
            with pytest.raises(ValueError) as caught:
                run_cell(cell["code"], notebook)
            assert str(caught.value).endswith(sentence)
        else:
            assert repr(run_cell(cell["code"], notebook)) == cell["output"]


def loss_of_the_post(shared):
    """The source of the loss class that the post shows, cut from its page."""
    lines = (Path(shared("."))).parent.joinpath("reference", "post.txt")
    if not lines.exists():
        pytest.skip("no page of the post beside the shared data")
    lines = lines.read_text(encoding="utf-8").split("\n")
    start = lines.index(LOSS_OF_THE_POST)
    end = next(i for i in range(start + 1, len(lines)) if lines[i] and lines[i][0] != " ")
    return "\n".join(lines[start:end])


def test_loss_class_pasted_from_the_post(shared, notebook):
    namespace = dict(notebook)
    ours = namespace["BCEWithLogitsLossFlat"](thresh=0.95)
    exec(loss_of_the_post(shared), namespace)
    pasted = namespace["BCEWithLogitsLossFlat"](thresh=0.95)
    assert type(pasted) is not type(ours) and repr(pasted) == repr(ours)
    logits = namespace["tensor"]([[0.3, -2.7, 2.2], [4.0, 1.0, 0.0]])
    targets = namespace["tensor"]([[1, 0, 1], [1, 0, 0]])
    assert pasted(logits, targets) == ours(logits, targets)
    value, grad = pasted.value_and_grad(logits, targets)
    assert value == ours.value_and_grad(logits, targets)[0]
    np.testing.assert_array_equal(grad, ours.value_and_grad(logits, targets)[1])
    assert pasted.decodes(pasted.activation(logits)).tolist() == [[False] * 3, [True, False, False]]
    with pytest.raises(ValueError, match="to avoid a RuntimeError due to shape mismatch$"):
        namespace["BCEWithLogitsLossFlat"](pos_weight=logits[0], flatten=True)


def test_threshold_plot_of_the_post(notebook):
    namespace = dict(notebook)
    namespace["preds"] = namespace["tensor"]([[0.58, 0.06, 0.9], [0.2, 0.97, 0.5]])
    namespace["targs"] = namespace["tensor"]([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    accs = run_cell(
        "xs = torch.linspace(0.05,0.995,100)\n"
        "accs = [accuracy_multi(preds, targs, thresh=i, sigmoid=False) for i in xs]\n"
        "plt.plot(xs,accs);\n"
        "accs",
        namespace,
    )
    namespace["plt"].close("all")
    assert len(accs) == 100 and repr(accs[0]) == "TensorBase(0.3333)"
    assert max(accs) == 1 and accs[-1].item() == pytest.approx(4 / 6)
