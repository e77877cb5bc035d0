"""What others call the weights of a network: torchvision, timm and fastai.

A ResNet here has torchvision's names, which are timm's too; other backbones have timm's. fastai
numbers the modules of the two parts that its ``vision_learner`` makes of a network, the body and
the head; but a body of timm's, other than its ResNets, is one module to it, ``0.model``.
"""

from collections.abc import Mapping

from mlclassify.checks import check_choice
from mlclassify.types import AnyArray

NAMINGS = ("torchvision", "timm", "fastai")

_FASTAI = {
    "conv1": "0.0", "bn1": "0.1",
    "layer1": "0.4", "layer2": "0.5", "layer3": "0.6", "layer4": "0.7",
    "head.bn1": "1.2", "head.fc1": "1.4", "head.bn2": "1.6", "head.fc2": "1.8",
}
_HEAD = tuple(name + "." for name in _FASTAI if name.startswith("head."))
_RESNET = {"conv1", "layer1", "layer2", "layer3", "layer4"}
_WHOLE = "0.model."
_OURS = {theirs: ours for ours, theirs in _FASTAI.items()}


def named_as(
    state: Mapping[str, AnyArray], names: str | None, function: str
) -> dict[str, AnyArray]:
    """Return weights under the names of others.

    Parameters
    ----------
    state : dict of str to ndarray
        As `Model.state_dict` gives it.
    names : {'torchvision', 'timm', 'fastai'} or None
        The first two know no head such as the one here: it is left out. None: the names that the
        backbone has here.
    function : str
        Whose name starts the message.

    Returns
    -------
    dict of str to ndarray

    Examples
    --------
    >>> import numpy as np
    >>> state = {"layer1.0.conv1.weight": np.ones(1), "head.fc2.weight": np.ones(1)}
    >>> list(named_as(state, "fastai", "f")), list(named_as(state, "timm", "f"))
    (['0.4.0.conv1.weight', '1.8.weight'], ['layer1.0.conv1.weight'])
    """
    resnet = any(name.split(".")[0] in _RESNET for name in state)
    names = names or ("torchvision" if resnet else "timm")
    check_choice(function, "names", names, NAMINGS)
    if names == "torchvision" and not resnet:
        raise ValueError(
            f"{function}: `names` must be 'timm' or 'fastai' for a backbone that torchvision calls "
            "otherwise, got 'torchvision'"
        )
    if names == "fastai":
        return {_fastais(name, resnet): value for name, value in state.items()}
    return {name: value for name, value in state.items() if not name.startswith(_HEAD)}


def has_head(tensors: Mapping[str, AnyArray]) -> bool:
    """Whether weights, under the names here, hold the head that `vision_learner` makes.

    Parameters
    ----------
    tensors : dict of str to ndarray

    Returns
    -------
    bool

    Examples
    --------
    >>> import numpy as np
    >>> has_head({"head.fc2.weight": np.ones(1)}), has_head({"head.norm.weight": np.ones(1)})
    (True, False)
    """
    return any(name.startswith(_HEAD) for name in tensors)


def named_as_here(tensors: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Return weights under the names that a `Model` has for them, whoever wrote them.

    Parameters
    ----------
    tensors : dict of str to ndarray
        With fastai's names where there is one ``0.0.weight`` or one in ``0.model``, else returned
        as they are.

    Returns
    -------
    dict of str to ndarray

    Examples
    --------
    >>> import numpy as np
    >>> list(named_as_here({"0.0.weight": np.ones(1), "1.2.running_mean": np.ones(1)}))
    ['conv1.weight', 'head.bn1.running_mean']
    """
    if "0.0.weight" in tensors:
        return {_renamed(name, _OURS): value for name, value in tensors.items()}
    if not any(name.startswith(_WHOLE) for name in tensors):
        return dict(tensors)
    # Of timm's heads, fastai keeps what is no last layer and runs it never: ConvNeXt's norm, and
    # the convolution that MobileNetV3's begins with, which has a bias.
    dead: tuple[str, ...] = (f"{_WHOLE}head.",)
    if f"{_WHOLE}conv_head.bias" in tensors:
        dead += (f"{_WHOLE}conv_head.",)
    return {_renamed(name.removeprefix(_WHOLE), _OURS): value for name, value in tensors.items()
            if not name.startswith(dead)}


def _fastais(name: str, resnet: bool) -> str:
    """Return fastai's name of a weight."""
    whole = not resnet and not name.startswith(_HEAD)
    return _WHOLE + name if whole else _renamed(name, _FASTAI)


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """Replace what a name starts with, one or two of its parts, by what the table has for it."""
    parts = name.split(".")
    for n in (1, 2):
        found = table.get(".".join(parts[:n]))
        if found is not None:
            return ".".join([found, *parts[n:]])
    return name
