"""``mlclassify demo`` tells the whole story in a terminal: train, judge, predict and save."""

from __future__ import annotations

import csv
import time
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
from mlclassify.data.files import get_image_files, parent_label
from mlclassify.data.loaders import DataLoaders
from mlclassify.data.samples import drawn_bears
from mlclassify.data.split import FuncSplitter, RandomSplitter
from mlclassify.data.transforms import ColReader, Pipeline
from mlclassify.learner import Learner, load_learner
from mlclassify.losses import BCEWithLogitsLossFlat
from mlclassify.metrics import APScoreMulti, accuracy_multi, average_precision_score
from mlclassify.plot import Grid, plot_sweep
from mlclassify.tensor import linspace
from mlclassify.thresholds import best_threshold, sweep
from mlclassify.vision.augment import RandomResizedCrop, aug_transforms
from mlclassify.vision.backbones import resnet18
from mlclassify.vision.learner import vision_learner

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_DRAWN, DRAWN_SIZE, DRAWN_EPOCHS = 600, 96, 12


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of ``labels.csv``, with the path of each picture as `image`."""
    with open(folder / "labels.csv", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        row["image"] = folder / "images" / row["fname"]
        row["is_valid"] = row["is_valid"] == "True"
    return rows


def drawn_data(out: Path, seed: int) -> DataLoaders:
    """Draw the bears, unless they are there from an earlier run, and load them."""
    folder = out / f"bears-{seed}"
    if not folder.exists():
        print(f"Drawing {N_DRAWN} pictures into {folder}")
        drawn_bears(folder, N_DRAWN, seed)
    block = DataBlock(
        blocks=(ImageBlock, MultiCategoryBlock),
        get_items=read_rows,
        get_x=ColReader("image"),
        get_y=ColReader("labels", label_delim=" "),
        splitter=FuncSplitter(lambda row: row["is_valid"]),
        item_tfms=RandomResizedCrop(DRAWN_SIZE, min_scale=0.7),
        batch_tfms=aug_transforms(),
    )
    return block.dataloaders(folder, bs=32, path=out)


def one_label(label: str) -> list[str]:
    """Return a label as the list that a multi-label target is."""
    return [label]


def photo_data(out: Path, bears: Path) -> DataLoaders:
    """Load photos in folders named by their label, as the post does."""
    block = DataBlock(
        blocks=(ImageBlock, MultiCategoryBlock),
        get_items=get_image_files,
        splitter=RandomSplitter(valid_pct=0.2, seed=0),
        get_y=Pipeline([parent_label, one_label]),
        item_tfms=RandomResizedCrop(228, min_scale=0.5),
        batch_tfms=aug_transforms(),
    )
    return block.dataloaders(bears, path=out)


def show_examples(learn: Learner) -> None:
    """Print what the model says of two pictures each with two labels, with one, with none."""
    dataset = learn.dls.valid.dataset
    for count, name in {2: "two labels", 1: "one label", 0: "no label"}.items():
        found = [i for i in range(len(dataset)) if len(dataset.labels(i)) == count]
        for i in found[:2]:
            labels, _, probs = learn.predict(dataset.image(i))
            says = ", ".join(f"{v} {p:.2f}" for v, p in zip(learn.dls.vocab, probs.tolist()))
            truth, told = (" ".join(x) or "nothing" for x in (dataset.labels(i), labels))
            print(f"A picture with {name:<10} there: {truth:<20} predicted: {told:<20} ({says})")


def save_figure(axes: Axes | Grid, path: Path) -> None:
    """Write the figure of some axes."""
    figure: Any = axes.figure if hasattr(axes, "figure") else axes.flat[0].figure
    figure.savefig(path, dpi=100, bbox_inches="tight")
    print(f"Saved {path}")


def report(learn: Learner, out: Path) -> dict[str, Any]:
    """Choose the threshold, look at the answers, save everything, and load the model again.

    Returns what was found as a dict.
    """
    probs, targets = learn.get_preds()
    macro = average_precision_score(targets, probs)
    print(f"\nOn {len(probs)} pictures held out, macro average precision is {macro:.4f}")
    thresholds = linspace(0.05, 0.995, 100)
    best = best_threshold(probs, targets, thresholds)
    accuracies = sweep(probs, targets, thresholds)
    print(f"The best threshold is {best:.3f}: accuracy {accuracies.max():.4f}\n")
    learn.loss_func = BCEWithLogitsLossFlat(thresh=best)
    show_examples(learn)
    print()
    save_figure(plot_sweep(thresholds, accuracies, best), out / "sweep.png")
    save_figure(learn.show_results(max_n=8, nrows=2), out / "results.png")
    model = learn.export("bears.safetensors")
    again, _ = load_learner(model).get_preds(dl=learn.dls.valid)
    if not (again == probs).all():
        raise RuntimeError(f"demo: {model} must predict what the model that it was saved from does")
    print(f"Saved {model}; loaded again, it predicts the same")
    return {"photos": len(probs), "average_precision": macro, "thresh": best,
            "accuracy": accuracies.max(), "model": str(model)}  # fmt: skip


def demo(out: Path, bears: Path | None = None, weights: Path | None = None,
         seed: int = 1) -> dict[str, Any]:
    """Train, judge, predict and save: on drawn bears, or on photos in `bears`.

    Parameters
    ----------
    out : Path
        Folder for pictures, plots and the model; made where it is not there.
    bears : Path, optional
        A folder of photos in folders named by their label.
    weights : Path, optional
        Pretrained weights for the photos, where ``weights=`` of `vision_learner` is meant.
    seed : int
        Of the drawings and of the training.

    Returns
    -------
    dict
        ``photos`` held out, ``average_precision``, ``thresh``, ``accuracy`` and ``model``.
    """
    start = time.monotonic()
    dls = drawn_data(out, seed) if bears is None else photo_data(out, bears)
    print(dls)
    metrics = [partial(accuracy_multi, thresh=0.95), APScoreMulti()]
    learn = vision_learner(dls, resnet18, metrics=metrics, pretrained=bears is not None,
                           weights=weights, seed=seed)
    out.mkdir(parents=True, exist_ok=True)  # nothing is left behind where data or weights lack
    save_figure(dls.show_batch(max_n=8, nrows=2), out / "batch.png")
    if bears is None:
        learn.fit_one_cycle(DRAWN_EPOCHS, 3e-3)
    else:
        learn.fine_tune(4)
    found = report(learn, out)
    print(f"All in {time.monotonic() - start:.0f} s")
    return found


def main(options: Namespace) -> tuple[dict[str, Any], int]:
    """Run `demo` with the options of the command line."""
    if options.weights and not options.bears:
        options.parser.error("--weights is for photos: give --bears too")
    return demo(options.out, options.bears, options.weights, options.seed), 0
