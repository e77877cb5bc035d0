"""Scoring one shard of a list of photos."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlclassify.checks import check_path, check_whole
from mlclassify.data.table import check_delim, check_label
from mlclassify.learner import load_learner
from mlclassify.prediction import Prediction
from mlclassify.progress import progress
from mlclassify.scoring import parquet
from mlclassify.scoring.journal import Journal, remove_journal
from mlclassify.scoring.lists import FileList, read_list, sha256_of
from mlclassify.scoring.parts import Part
from mlclassify.vision.image import open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlclassify.learner import Learner
    from mlclassify.types import StrPath


def score_files(
    model: StrPath,
    files: StrPath,
    out: StrPath,
    shard: tuple[int, int] = (1, 1),
    resume: bool = False,
    bs: int = 256,
    folder: StrPath = "",
    label_delim: str = " ",
) -> Part:
    """Score one shard of a list of photos into a file.

    Parameters
    ----------
    model : str or Path
        A file that `Learner.export` wrote.
    files : str or Path
        A table with the columns ``fname`` and, where the truth is known, ``labels`` if its name
        ends in .csv; else a text with a name a line.
    out : str or Path
        A name that ends in .csv, or in .parquet with ``pip install 'mlclassify[parquet]'``. Rows
        stand in the order of the list: the name, the labels that were decided, those of the list
        if it has any, a probability for each label, the novelty if the model judges it; and for a
        photo that cannot be read, instead of all these, the reason.
    shard : (int, int)
        Which one, from 1, of how many parts of the list.
    resume : bool
        Whether to go on after the last whole batch of a run that did not end, and to leave `out`
        as it is where it is complete; else all is done anew.
    bs : int
        Photos of a batch, after each of which the rows so far are safe on the disk.
    folder : str or Path
        Of the photos, where names are relative.
    label_delim : str
        Between two labels, in the list and in what is written.

    Returns
    -------
    Part

    Raises
    ------
    ValueError
        An argument is wrong, or `resume` finds the work of another model, list or shard.
    BlockingIOError
        Another process is at this very part.
    OSError
        The model, the list or the part cannot be read or written.

    Examples
    --------
    ``score_files("bears.safetensors", "photos.txt", "scores-2.parquet", shard=(2, 8))``
    """
    target: Path = check_path("score_files", "out", out)
    if target.suffix not in (".csv", ".parquet"):
        raise ValueError(f"score_files: `out` must end in .csv or .parquet, got {target.name!r}")
    if target.suffix == ".parquet":
        parquet.check_installed("score_files")
    bs = check_whole("score_files", "bs", bs, at_least=1)
    learn, listed = load_learner(model), read_list(files)
    part = _planned(learn, sha256_of(Path(model)), listed, shard, bs, label_delim)
    if resume and (done := part.found_at(target)):
        remove_journal(target)  # the run that finished it may have been killed before it did
        return done
    with Journal(target, part, resume) as journal:
        rest = listed.rows(part.start + journal.rows, part.stop)
        with progress("score", -(-(part.stop - part.start - journal.rows) // bs), True) as step:
            while batch := list(islice(rest, bs)):
                journal.append(_scored(learn, part, batch, Path(folder)))
                step()
        return journal.finish()


def predict_or_say_why(
    learn: Learner, files: Sequence[StrPath]
) -> list[Prediction | OSError]:
    """Predict photos as one batch; instead of those that cannot be read return the reasons."""
    try:
        return list(learn.predict(list(files)))
    except OSError:  # seldom: only now each is read twice
        why = [_why_unreadable(fn) for fn in files]
    told = iter(learn.predict([fn for fn, error in zip(files, why) if error is None]))
    return [next(told) if error is None else error for error in why]


def _why_unreadable(fn: StrPath) -> OSError | None:
    try:
        open_image(fn)
    except OSError as error:
        return error
    return None


def _planned(
    learn: Learner, model: str, listed: FileList, shard: tuple[int, int], bs: int, label_delim: str
) -> Part:
    """Return what is to be done, before any of it is."""
    i, n = shard
    n = check_whole("score_files", "shard", n, at_least=1)
    if check_whole("score_files", "shard", i, at_least=1) > n:
        raise ValueError(f"score_files: `shard` must be one of 1 to {n}, got {i}")
    check_delim("score_files", label_delim)
    labels = [check_label("score_files", str(label), label_delim) for label in learn.dls.vocab]
    thresh = np.broadcast_to(np.asarray(learn.loss_func.thresh, np.float64), len(labels))
    return Part(
        model=model, files=listed.sha256, n=listed.n, shard=i, shards=n,
        start=listed.n * (i - 1) // n, stop=listed.n * i // n, batch=bs, labels=labels,
        thresh=[float(t) if np.isfinite(t) else str(t) for t in thresh], label_delim=label_delim,
        labelled=listed.labelled, novelty=learn.novelty is not None,
    )  # fmt: skip


def _scored(
    learn: Learner, part: Part, batch: list[tuple[str, str]], folder: Path
) -> list[list[Any]]:
    """Return the rows of some photos."""
    told = predict_or_say_why(learn, [folder / name for name, _ in batch])
    return [_row(part, name, truth, one) for (name, truth), one in zip(batch, told, strict=True)]


def _row(part: Part, name: str, truth: str, told: Prediction | OSError) -> list[Any]:
    truths = [truth] * part.labelled
    if isinstance(told, OSError):
        blanks = [""] * (len(part.labels) + part.novelty)
        return [name, "", *truths, *blanks, " ".join(str(told).split())]
    novelty = [told.novelty] * part.novelty
    labels = part.label_delim.join(map(str, told.labels))
    # float32 has at most nine digits, so what is read again has the same bits.
    return [name, labels, *truths, *(f"{p:.9g}" for p in told.probs.tolist()), *novelty, ""]
