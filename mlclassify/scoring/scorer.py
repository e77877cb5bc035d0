"""Scores in the processes of others: a model file that each loads once, and must be the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlclassify.checks import check_path
from mlclassify.data.table import FNAME, LABELS, check_delim, check_label
from mlclassify.learner import Learner, learner_from_bytes
from mlclassify.scoring.parts import ERROR, NOVELTY, columns_of, prob_column
from mlclassify.scoring.score import predict_or_say_why
from mlclassify.wholefile import open_regular

if TYPE_CHECKING:
    from mlclassify.types import StrPath


class Scorer:
    """A function from names of photos to rows of scores, to be sent to the workers of a scheduler.

    What is sent is a path and a hash. A worker process loads the model when it is first asked, and
    keeps it; several threads may ask at a time. How many threads one call takes is what
    ``MLCLASSIFY_NUM_THREADS`` says in that process: 1 where there is a worker for each core.

    Parameters
    ----------
    model : str or Path
        A file that `Learner.export` wrote, which every worker finds under this path.
    label_delim : str
        Between two labels in a row.

    Attributes
    ----------
    columns : dict
        The columns of a row, in order, as in files of `score_files`: ``str``, or ``float`` for what
        is a float32 number or None.

    Raises
    ------
    OSError
        The model cannot be read.
    ModelFileError
        It is none.
    ValueError
        A label holds the delimiter. Of a call: the file that this process finds is another one
        than where the Scorer was made.

    Examples
    --------
    ``Pool().map(Scorer("bears.safetensors"), [names[:500], names[500:]])``
    """

    def __init__(self, model: StrPath, label_delim: str = " ") -> None:
        check_delim("Scorer", label_delim)
        self._model: Path = check_path("Scorer", "model", model).absolute()
        self._sha256 = hashlib.sha256(_read(self._model)).hexdigest()
        self._delim = label_delim
        learn = _loaded(self._model, self._sha256)
        self._labels = [check_label("Scorer", str(o), label_delim) for o in learn.dls.vocab]
        self.columns = columns_of(self._labels, novelty=learn.novelty is not None)

    def __call__(self, files: Iterable[StrPath]) -> list[dict[str, Any]]:
        """Return a row for each photo; of one that cannot be read the name and the reason."""
        names = [os.fspath(fn) for fn in files]
        learn, rows = _loaded(self._model, self._sha256), []
        for name, told in zip(names, predict_or_say_why(learn, names), strict=True):
            row = {**dict.fromkeys(self.columns), FNAME: name, LABELS: "", ERROR: ""}
            if isinstance(told, OSError):
                row[ERROR] = " ".join(str(told).split())
            else:
                row[LABELS] = self._delim.join(map(str, told.labels))
                row.update(zip(map(prob_column, self._labels), told.probs.tolist()))
                if NOVELTY in row:
                    row[NOVELTY] = told.novelty
            rows.append(row)
        return rows


@lru_cache(maxsize=1)
def _loaded(model: Path, sha256: str) -> Learner:
    """Return the learner of a file, which has not changed on its way to this process."""
    data = _read(model)
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise ValueError(
            f"Scorer: `model` must be one file for all workers, got another at {str(model)!r} "
            f"(sha256 {found[:12]}, not {sha256[:12]})"
        )
    return learner_from_bytes(data)


def _read(model: Path) -> bytes:
    with open_regular(model, "Scorer") as file:
        return file.read()
