"""scikit-learn's side: a classifier of photos, and thresholds for any other classifier.

Both go where scikit-learn's estimators go: ``Pipeline``, ``GridSearchCV``, ``cross_val_predict``.
Targets are those of several labels, as an indicator matrix (N, L) of 0 and 1, or of one label, as a
vector with two classes. `MultiLabelImageClassifier` also takes a list of labels for each photo.
"""

import os
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np

from mlclassify.arrays import as_float32
from mlclassify.checks import check_between, check_choice, check_whole
from mlclassify.data.block import DataBlock, ImageBlock, MultiCategoryBlock
from mlclassify.data.lists import L
from mlclassify.data.split import IndexSplitter
from mlclassify.export import learner_to_bytes
from mlclassify.learner import learner_from_bytes
from mlclassify.rng import fresh_seed
from mlclassify.selection import METHODS, Method, find_thresholds, stratified_folds
from mlclassify.thresholds import check_thresh
from mlclassify.types import AnyArray, Float64, Int64, UInt8
from mlclassify.vision.augment import Resize, aug_transforms
from mlclassify.vision.learner import vision_learner

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
    from sklearn.model_selection import check_cv, cross_val_predict
    from sklearn.utils import check_random_state, get_tags, indexable
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import type_of_target
    from sklearn.utils.validation import (
        check_array,
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise ImportError(
        "mlclassify.sklearn: needs scikit-learn, which is not installed; "
        "pip install 'mlclassify[sklearn]'"
    ) from error

__all__ = ["MultiLabelImageClassifier", "ThresholdedClassifier"]


class MultiLabelImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A network for photos, trained from pretrained weights or from scratch.

    Parameters
    ----------
    arch : str
        Name of the backbone, such as ``'resnet18'``.
    pretrained : bool
        Whether to start from ImageNet weights, and train the head first; else from scratch.
    weights : str or Path, optional
        Where they are; as for `vision_learner`.
    size : int or (int, int)
        To which height and width photos are brought.
    resize : {'squish', 'crop', 'pad'}
        How; as for `Resize`.
    augment : bool
        Whether to train on random variants of the photos (`aug_transforms`).
    epochs : int
    lr : float
        Learning rate: of `Learner.fine_tune`, or from scratch of `Learner.fit_one_cycle`.
    batch_size : int
    thresholds : float, array_like (L,), or str
        A label is predicted where its probability is above its threshold. A text is a method of
        `find_thresholds`, by which they are chosen from photos that are held out.
    held_out : float
        The part of the photos that is held out where `thresholds` is a method.
    image_shape : (int, int) or (int, int, 3), optional
        The shape of the pictures that rows of a matrix hold; default one line of pixels.
    verbose : bool
        Whether to print a line for each epoch.
    random_state : int, RandomState or None
        Of the head, the order, the augmentation. The same integer gives the same bits.

    Attributes
    ----------
    learner_ : Learner
        What was trained, as a file of `Learner.export` holds it. Copies and pickles hold it in that
        format, so that they run no code of a model; its ``export_onnx`` is there, too.
    classes_ : ndarray
        The labels, in the order of columns; of a vector, its two classes.
    thresholds_ : float32 ndarray (L,)
    multilabel_ : bool
    n_features_in_ : int
        Of a matrix, its columns; photos have no number of features.

    Notes
    -----
    A photo is what `open_image` reads: a path, bytes, a PIL image, or a uint8 array (H, W, 3); many
    of one size may be one uint8 array (N, H, W, 3). A matrix of numbers (N, F) is read as pictures
    too: each row is a flattened one, of `image_shape`, with black at the least of all values that
    `fit` saw and white at the largest.

    Examples
    --------
    >>> red, blue = np.zeros((2, 8, 8, 3), np.uint8)
    >>> red[..., 0], blue[..., 2] = 250, 250
    >>> photos = np.stack([red, blue, red + blue, red * 0] * 4)
    >>> labels = [["red"], ["blue"], ["red", "blue"], []] * 4
    >>> clf = MultiLabelImageClassifier(pretrained=False, size=32, epochs=1, random_state=0)
    >>> clf.fit(photos, labels).predict(photos).shape, clf.classes_.tolist()
    ((16, 2), ['blue', 'red'])
    """

    value_range_: tuple[float, float] | None  # of a matrix; photos have none

    def __init__(
        self,
        arch: str = "resnet18",
        *,
        pretrained: bool = True,
        weights: Any = None,
        size: Any = 224,
        resize: Literal["squish", "crop", "pad"] = "squish",
        augment: bool = True,
        epochs: int = 4,
        lr: float = 2e-3,
        batch_size: int = 64,
        thresholds: Any = 0.5,
        held_out: float = 0.2,
        image_shape: Any = None,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.arch, self.pretrained, self.weights = arch, pretrained, weights
        self.size, self.resize, self.augment = size, resize, augment
        self.epochs, self.lr, self.batch_size = epochs, lr, batch_size
        self.thresholds, self.held_out = thresholds, held_out
        self.image_shape, self.verbose, self.random_state = image_shape, verbose, random_state

    def fit(self, X: Any, y: Any) -> "MultiLabelImageClassifier":
        """Train on photos.

        Parameters
        ----------
        X : photos (N,), uint8 array (N, H, W, 3), or matrix (N, F)
        y : array_like (N, L) of 0 and 1, list of N lists of texts, or array_like (N,)
            The last with two classes.

        Returns
        -------
        MultiLabelImageClassifier
            This one.
        """
        name = type(self).__name__
        photos = self._photos(X, reset=True)
        self.classes_, self.multilabel_, targets = _encoded(name, y)
        check_consistent_length(photos, targets)
        if len(photos) < 2:
            raise ValueError(f"{name}: `X` must hold at least two photos, got n_samples = 1")
        seed = _seed(self.random_state)
        held_out = self._held_out(targets, seed)
        learn = self._learner(photos, targets, held_out, seed)
        with learn.no_bar(), nullcontext() if self.verbose else learn.no_logging():
            train = learn.fine_tune if self.pretrained else learn.fit_one_cycle
            train(self.epochs, self.lr)
            if len(held_out):
                learn.tune_thresholds(self.thresholds)
            else:
                learn.loss_func.thresh = self.thresholds
        self.thresholds_ = np.broadcast_to(learn.loss_func.thresh, targets.shape[1]).copy()
        self.learner_ = learner_from_bytes(learner_to_bytes(learn))  # without the photos
        return self

    def predict_proba(self, X: Any) -> Float64:
        """Return probabilities, float64 (N, L); for a vector of targets (N, 2), of its classes."""
        probs = self._asked(X)[0]
        return probs if self.multilabel_ else np.concatenate([1 - probs, probs], axis=1)

    def predict(self, X: Any) -> AnyArray:
        """Return the labels: an indicator matrix, int64 (N, L), or classes (N,)."""
        return _decoded(self._asked(X)[1], self.classes_, self.multilabel_)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of photos with all labels right; `y` as in `fit`."""
        check_is_fitted(self)
        if _are_label_lists(y):
            y = _indicator(type(self).__name__, y, self.classes_.tolist())
        return float(super().score(X, y, sample_weight))

    def _asked(self, X: Any) -> tuple[Float64, AnyArray]:
        """Return probabilities and decisions, (N, L) each."""
        check_is_fitted(self)
        photos = self._photos(X, reset=False)
        learn = self.learner_
        with learn.no_bar():
            probs, _, mask = learn.get_preds(dl=learn.dls.test_dl(photos, bs=self.batch_size),
                                             with_decoded=True)
        return np.asarray(probs, np.float64), np.asarray(mask)

    def _learner(self, photos: list[Any], targets: UInt8, held_out: Int64, seed: int) -> Any:
        labels = [str(label) for label in
                  (self.classes_ if self.multilabel_ else self.classes_[1:])]
        block = DataBlock((ImageBlock, MultiCategoryBlock(encoded=True, vocab=labels)),
                          get_x=_first, get_y=_second, splitter=IndexSplitter(held_out),
                          item_tfms=Resize(self.size, self.resize),
                          batch_tfms=aug_transforms() if self.augment else None)
        n = len(photos) - len(held_out)
        bs = min(check_whole(type(self).__name__, "batch_size", self.batch_size, 2), n)
        dls = block.dataloaders(list(zip(photos, targets)), bs=bs)
        return vision_learner(dls, self.arch, pretrained=self.pretrained, weights=self.weights,
                              seed=seed)

    def _held_out(self, targets: UInt8, seed: int) -> Int64:
        """Return which photos are not trained on, for thresholds to be chosen by."""
        name = type(self).__name__
        if not isinstance(self.thresholds, str):
            check_thresh(name, self.thresholds, targets.shape[1], "thresholds")
            return np.empty(0, np.int64)
        check_choice(name, "thresholds", self.thresholds, METHODS)
        part = check_between(name, "held_out", self.held_out, 0, 1)
        found: Int64 = np.flatnonzero(stratified_folds(targets, [1 - part, part], seed) == 1)
        if not len(found) or len(found) > len(targets) - 2:
            raise ValueError(f"{name}: `held_out` must leave photos to train on and to choose "
                             f"thresholds by, got {self.held_out!r} of {len(targets)}")
        return found

    # --- what X may be

    def _photos(self, X: Any, reset: bool) -> list[Any]:
        """Return photos as a list of what `open_image` reads."""
        name = type(self).__name__
        photos = _are_photos(X)
        if not reset and photos != (self.value_range_ is None):
            raise ValueError(f"{name}: `X` must be {'photos' if not photos else 'a matrix'}, as "
                             f"what it was fitted to, got {type(X).__name__}")
        if photos:
            if reset:
                self.value_range_ = None
                if hasattr(self, "n_features_in_"):  # of an earlier fit
                    del self.n_features_in_
            return _listed(name, X)
        rows = validate_data(self, X, dtype=np.float64, reset=reset)
        if reset:
            self.value_range_ = float(rows.min()), float(rows.max())
        low, high = self.value_range_ or (0.0, 0.0)
        return list(self._pictures((rows - low) / ((high - low) or 1)))

    def _pictures(self, rows: Float64) -> UInt8:
        """Return the pictures that rows hold, from black at 0 to white at 1, uint8 (N, H, W, 3)."""
        shape = (1, rows.shape[1]) if self.image_shape is None else tuple(self.image_shape)
        if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or (
                np.prod(shape) != rows.shape[1]):
            raise ValueError(
                f"{type(self).__name__}: `image_shape` must be (height, width) or (height, width, "
                f"3) of {rows.shape[1]} numbers, got {self.image_shape!r}"
            )
        pictures = np.rint(255 * np.clip(rows, 0, 1)).astype(np.uint8).reshape(-1, *shape)
        return pictures if len(shape) == 3 else np.repeat(pictures[..., None], 3, axis=3)

    # --- what scikit-learn asks

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "learner_" in state:
            state["learner_"] = learner_to_bytes(self.learner_)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "learner_" in state:
            state = {**state, "learner_": learner_from_bytes(state["learner_"])}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.classifier_tags.multi_label = True
        tags.classifier_tags.poor_score = True  # on two numbers a row, which are no photo
        tags.input_tags.string = True
        tags.non_deterministic = self.random_state is None
        return tags


def _has_probabilities(clf: Any) -> bool:
    return hasattr(clf.estimator, "predict_proba")


class ThresholdedClassifier(
    ClassifierMixin, MetaEstimatorMixin, BaseEstimator  # type: ignore[misc]
):
    """Any classifier, deciding by thresholds that are chosen for each label on out-of-fold scores.

    Parameters
    ----------
    estimator : classifier
        With `predict_proba` or `decision_function`; of several labels, or of two classes.
    method : str
        A method of `find_thresholds`.
    cv : int, splitter, iterable of (train, test), 'prefit' or None
        Which folds are left out in turn; each sample must be in one. A number of folds is
        stratified by all labels; None is three of them. 'prefit' takes the estimator as it is, and
        chooses thresholds on what `fit` is given, which it should not have been trained on.
    response_method : {'auto', 'predict_proba', 'decision_function'}
        Which scores decide; 'auto' takes the first of the two that there is.
    pooled : bool
        Whether thresholds are chosen on all scores together; else they are the means of those that
        the folds choose.
    fbr : float or array_like (L,), optional
        Of the methods 'scutfbr0' and 'scutfbr1'.
    n_jobs : int, optional
        Processes for the folds; as in ``cross_val_predict``.
    random_state : int, RandomState or None
        Of the folds that are made.

    Attributes
    ----------
    estimator_ : classifier
        Fitted to everything.
    thresholds_ : float64 ndarray (L,)
        On the scale of the scores; infinite: never, or always.
    found_ : FoundThresholds
        With F1 before and after, and how far the folds agree; its repr is a table.
    classes_ : ndarray
        The two classes of a vector; of a matrix the numbers of its columns.
    multilabel_ : bool
    n_features_in_, feature_names_in_
        Those of `estimator_`, where it has them.

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.multiclass import OneVsRestClassifier
    >>> X, y = make_multilabel_classification(300, n_classes=3, random_state=0)
    >>> clf = ThresholdedClassifier(OneVsRestClassifier(LogisticRegression()), method="micro")
    >>> clf.fit(X, y).predict(X).shape, clf.thresholds_.shape
    ((300, 3), (3,))
    """

    def __init__(self, estimator: Any, *, method: Method = "scut", cv: Any = None,
                 response_method: str = "auto", pooled: bool = False, fbr: Any = None,
                 n_jobs: int | None = None, random_state: Any = 0) -> None:
        self.estimator, self.method, self.cv = estimator, method, cv
        self.response_method, self.pooled, self.fbr = response_method, pooled, fbr
        self.n_jobs, self.random_state = n_jobs, random_state

    def fit(self, X: Any, y: Any) -> "ThresholdedClassifier":
        """Choose thresholds on scores of samples that were left out, then fit to all.

        Parameters
        ----------
        X : what `estimator` takes
        y : array_like (N, L) of 0 and 1, or (N,) with two classes

        Returns
        -------
        ThresholdedClassifier
            This one.
        """
        name = type(self).__name__
        self.classes_, self.multilabel_, targets = _encoded(name, y)
        X, y = indexable(X, targets if self.multilabel_ else column_or_1d(y))
        self.response_ = self._response()
        check_choice(name, "method", self.method, METHODS)
        if isinstance(self.cv, str):
            check_choice(name, "cv", self.cv, ("prefit",))
            self.estimator_, folds = self.estimator, None
            scores = self._scores(getattr(self.estimator_, self.response_)(X),
                                  getattr(self.estimator_, "classes_", None))
        else:
            folds = self._folds(X, y, targets)
            self.estimator_ = clone(self.estimator).fit(X, y)
            scores = self._out_of_fold(X, y, targets, folds)
        self.found_ = find_thresholds(
            scores, targets, method=self.method, folds=None if self.pooled else folds,
            pooled=self.pooled, fbr=self.fbr, seed=_seed(self.random_state),
            start=0.5 if self.response_ == "predict_proba" else 0.0,
        )
        self.thresholds_ = self.found_.thresholds
        for attribute in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, attribute):
                setattr(self, attribute, getattr(self.estimator_, attribute))
        return self

    def decision_function(self, X: Any) -> Float64:
        """Return how far scores are above their thresholds, float64 (N, L) or (N,).

        What is above 0 is predicted. Within a label the order is that of the estimator's scores.
        """
        above = self._above(X)
        return above if self.multilabel_ else above[:, 0]

    def predict(self, X: Any) -> AnyArray:
        """Return the labels: an indicator matrix, int64 (N, L), or classes (N,)."""
        return _decoded(self._above(X) > 0, self.classes_, self.multilabel_)

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities of the estimator, which know nothing of thresholds."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    def _above(self, X: Any) -> Float64:
        check_is_fitted(self)
        scores = self._scores(getattr(self.estimator_, self.response_)(X),
                              getattr(self.estimator_, "classes_", None))
        above: Float64 = scores - self.thresholds_
        return above

    def _response(self) -> str:
        """Return the method of the estimator whose scores decide."""
        name, known = type(self).__name__, ("predict_proba", "decision_function")
        check_choice(name, "response_method", self.response_method, ("auto", *known))
        asked = known if self.response_method == "auto" else (self.response_method,)
        for method in asked:
            if hasattr(self.estimator, method):
                return method
        raise ValueError(f"{name}: `estimator` must have {' or '.join(asked)}, got "
                         f"{self.estimator!r}")

    def _scores(self, given: Any, classes: Any) -> Float64:
        """Return scores (N, L) of whatever shape an estimator gives them.

        They are rounded to float32, on which thresholds are chosen.
        """
        if isinstance(given, list):  # an array (N, classes) for each label
            given = np.stack([_of_class_1(*pair) for pair in zip(given, classes)], axis=1)
        elif not self.multilabel_ and given.ndim == 2:
            given = given[:, 1]
        rounded = as_float32("scores", type(self).__name__, given)
        scores: Float64 = rounded.astype(np.float64).reshape(len(rounded), -1)
        return scores

    def _out_of_fold(self, X: Any, y: Any, targets: UInt8, folds: Int64) -> Float64:
        """Return the scores of each sample by an estimator that it was left out of."""
        splits = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k))
                  for k in np.unique(folds)]
        left_out = cross_val_predict(self.estimator, X, y, cv=splits, n_jobs=self.n_jobs,
                                     method=self.response_)
        return self._scores(left_out, [np.unique(column) for column in targets.T])

    def _folds(self, X: Any, y: Any, targets: UInt8) -> Int64:
        """Return the fold in which each sample is left out."""
        if self.cv is None or isinstance(self.cv, (int, np.integer)):
            n = 3 if self.cv is None else check_whole(type(self).__name__, "cv", self.cv, 2)
            stratified: Int64 = stratified_folds(targets, n, _seed(self.random_state))
            return stratified
        folds, times = np.zeros((2, len(targets)), np.int64)
        for k, (_, left_out) in enumerate(check_cv(self.cv, y, classifier=True).split(X, y)):
            folds[left_out] = k
            times[left_out] += 1
        if (times != 1).any():
            raise ValueError(f"{type(self).__name__}: `cv` must leave each sample out once, got "
                             f"{self.cv!r}")
        return folds

    def __sklearn_tags__(self) -> Any:
        tags, inner = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.input_tags, tags.non_deterministic = inner.input_tags, inner.non_deterministic
        if inner.classifier_tags is not None:
            tags.classifier_tags.multi_label = inner.classifier_tags.multi_label
            tags.classifier_tags.poor_score = inner.classifier_tags.poor_score
        tags.classifier_tags.multi_class = False
        return tags


# --- targets


def _encoded(name: str, y: Any) -> tuple[AnyArray, bool, UInt8]:
    """Return (labels or the two classes, whether there are several labels, targets (N, L))."""
    if y is None:
        raise ValueError(f"{name}: requires y to be passed, but the target y is None")
    if _are_label_lists(y):
        labels = sorted({label for row in y for label in row})
        return np.array(labels), True, _indicator(name, y, labels)
    kind = type_of_target(y, input_name="y")
    if kind == "multilabel-indicator":
        targets = check_array(y, accept_sparse=True, dtype=None)
        targets = targets.toarray() if hasattr(targets, "toarray") else targets
        columns = getattr(y, "columns", range(targets.shape[1]))
        return np.asarray(columns), True, targets.astype(np.uint8)
    if kind == "unknown":
        raise ValueError(f"{name}: `y` must hold classes or labels. Unknown label type: {kind}")
    check_array(y, ensure_2d=False, dtype=None)
    if kind != "binary":
        raise ValueError(
            f"{name}: `y` must hold two classes, or an indicator matrix of several labels. Only "
            f"binary classification is supported. The type of the target is {kind}."
        )
    classes, codes = np.unique(column_or_1d(y, warn=True), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{name}: `y` must hold two classes, got one class, {classes[0]!r}")
    return classes, False, codes.astype(np.uint8)[:, None]


def _decoded(mask: AnyArray, classes: AnyArray, multilabel: bool) -> AnyArray:
    return mask.astype(np.int64) if multilabel else classes[mask[:, 0].astype(np.int64)]


def _are_label_lists(y: Any) -> bool:
    """Whether `y` holds a list of texts for each photo; rows of numbers are an indicator matrix."""
    if isinstance(y, (str, bytes)) or getattr(y, "ndim", 1) != 1 or not isinstance(y, Iterable):
        return False
    rows = list(y)
    return bool(rows) and all(
        isinstance(row, (list, tuple, set, frozenset, L)) and all(isinstance(label, str)
                                                               for label in row)
        for row in rows
    ) and any(map(len, rows))


def _indicator(name: str, y: Iterable[Iterable[str]], labels: list[Any]) -> UInt8:
    place = {label: i for i, label in enumerate(labels)}
    rows = [list(row) for row in y]
    targets = np.zeros((len(rows), len(labels)), np.uint8)
    for i, row in enumerate(rows):
        for label in row:
            if label not in place:
                raise ValueError(f"{name}: `y` must hold labels of {labels}, got {label!r}")
            targets[i, place[label]] = 1
    return targets


def _of_class_1(probs: AnyArray, classes: AnyArray) -> AnyArray:
    """Return what one label's probabilities (N, classes) say of its presence."""
    there = np.flatnonzero(np.asarray(classes) == 1)
    return probs[:, there[0]] if len(there) else np.zeros(len(probs))


# --- photos


def _are_photos(X: Any) -> bool:
    """Whether `X` holds photos, not numbers in rows."""
    if getattr(X, "ndim", 1) == 4:
        return True
    if getattr(X, "ndim", 1) != 1 or isinstance(X, (str, bytes)) or not hasattr(X, "__len__"):
        return False
    first = next(iter(X), None) if len(X) else None
    is_pil = hasattr(first, "getpixel")
    return isinstance(first, (str, bytes, os.PathLike)) or is_pil or getattr(first, "ndim", 0) == 3


def _listed(name: str, X: Any) -> list[Any]:
    """Return photos as a list; arrays must be uint8 (N, H, W, 3)."""
    for array in (X, next(iter(X))):
        if getattr(array, "ndim", 1) >= 3 and (
                array.dtype != np.uint8 or array.shape[-1] != 3):
            raise ValueError(
                f"{name}: `X` as arrays must be uint8 of shape (N, H, W, 3), got {array.dtype} "
                f"{array.shape}"
            )
    return list(X)


def _first(item: tuple[Any, Any]) -> Any:
    return item[0]


def _second(item: tuple[Any, Any]) -> Any:
    return item[1]


def _seed(random_state: Any) -> int:
    """Return a seed; of None a fresh one, without touching NumPy's global state."""
    if random_state is None:
        return int(fresh_seed())
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
