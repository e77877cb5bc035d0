"""What others call the weights of a network: torchvision, timm and fastai.

A backbone here has torchvision's names, which are timm's too. fastai numbers the modules of the two
parts that its ``vision_learner`` makes of a network, the body and the head.
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
_OURS = {theirs: ours for ours, theirs in _FASTAI.items()}


def named_as(state: Mapping[str, AnyArray], names: str, function: str) -> dict[str, AnyArray]:
    """Return weights under the names of others.

    Parameters
    ----------
    state : dict of str to ndarray
        As `Model.state_dict` gives it.
    names : {'torchvision', 'timm', 'fastai'}
        The first two know no head such as the one here: it is left out.
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
    check_choice(function, "names", names, NAMINGS)
    if names == "fastai":
        return {_renamed(name, _FASTAI): value for name, value in state.items()}
    return {name: value for name, value in state.items() if not name.startswith("head.")}


def named_as_here(tensors: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """Return weights under the names that a `Model` has for them, whoever wrote them.

    Parameters
    ----------
    tensors : dict of str to ndarray
        With fastai's names where there is one ``0.0.weight``, else returned as they are.

    Returns
    -------
    dict of str to ndarray

    Examples
    --------
    >>> import numpy as np
    >>> list(named_as_here({"0.0.weight": np.ones(1), "1.2.running_mean": np.ones(1)}))
    ['conv1.weight', 'head.bn1.running_mean']
    """
    if "0.0.weight" not in tensors:
        return dict(tensors)
    return {_renamed(name, _OURS): value for name, value in tensors.items()}


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """Replace what a name starts with, one or two of its parts, by what the table has for it."""
    parts = name.split(".")
    for n in (1, 2):
        found = table.get(".".join(parts[:n]))
        if found is not None:
            return ".".join([found, *parts[n:]])
    return name
