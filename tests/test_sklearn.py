"""scikit-learn's own checks, its tools around our classifiers, and what thresholds they choose."""

import copy
import os
import pickle
import pickletools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tiny import LABELS, photos, register

if not os.environ.get("MLCLASSIFY_TEST_DATA"):
    pytest.importorskip("sklearn", reason="pip install '.[test]' brings scikit-learn")
from sklearn.base import clone
from sklearn.datasets import (
    load_digits,
    make_classification,
    make_multilabel_classification,
)
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ShuffleSplit,
    cross_val_predict,
    cross_val_score,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from mlclassify.data.files import get_image_files
from mlclassify.selection import METHODS, find_thresholds, stratified_folds
from mlclassify.sklearn import MultiLabelImageClassifier, ThresholdedClassifier
from mlclassify.vision.image import Image

pytestmark = pytest.mark.filterwarnings("ignore::mlclassify.checks.MLClassifyWarning")

NEVER_RUN = {  # skipped by scikit-learn itself
    "check_array_api_input": "SCIPY_ARRAY_API is not set",
    "check_classifiers_multilabel_output_format_decision_function": "there is none for photos",
}


@pytest.fixture(autouse=True)
def tiny_is_known(monkeypatch):
    register(monkeypatch)
    monkeypatch.setenv("MLCLASSIFY_PROGRESS", "0")


def tiny_classifier(**options):
    options = {"epochs": 3, "lr": 1e-2, "batch_size": 8, **options}
    return MultiLabelImageClassifier("tiny", pretrained=False, size=16, augment=False,
                                     random_state=0, **options)


# --- scikit-learn's checks


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [
    ThresholdedClassifier(LogisticRegression()),
    ThresholdedClassifier(LinearSVC()),
    ThresholdedClassifier(KNeighborsClassifier()),
    ThresholdedClassifier(OneVsRestClassifier(LogisticRegression()), method="cyclic"),
    ThresholdedClassifier(RandomForestClassifier(5, random_state=0), method="global", cv=2),
    tiny_classifier(),
    tiny_classifier(image_shape=None, resize="pad", epochs=1),
], ids=str)
def test_all_checks_pass(estimator):
    results = check_estimator(estimator, expected_failed_checks={})  # raises where one fails
    assert len(results) > 50
    skipped = {r["check_name"] for r in results if r["status"] != "passed"}
    assert skipped <= NEVER_RUN.keys()


# --- thresholds for any classifier


@pytest.fixture(scope="module")
def table():
    """X, y of five labels, from rare to frequent."""
    return make_multilabel_classification(400, n_features=12, n_classes=5, n_labels=2,
                                          random_state=3)


def left_out_scores(estimator, X, targets, folds, response):
    """The definition, fold by fold: scores (N, L) from estimators that did not see the sample."""
    scores = np.empty(targets.shape)
    for k in np.unique(folds):
        there = folds == k
        y = targets if targets.shape[1] > 1 else targets[:, 0]
        fitted = clone(estimator).fit(X[~there], y[~there])
        given = getattr(fitted, response)(X[there])
        if isinstance(given, list):
            given = np.stack([p[:, 1] for p in given], axis=1)
        elif targets.shape[1] == 1 and given.ndim == 2:
            given = given[:, 1]
        scores[there] = given.reshape(there.sum(), -1)
    return scores


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_find_thresholds_on_scores_left_out(method, table):
    X, y = table
    estimator = OneVsRestClassifier(LogisticRegression())
    clf = ThresholdedClassifier(estimator, method=method).fit(X, y)
    folds = stratified_folds(y, 3, seed=0)
    scores = left_out_scores(estimator, X, y, folds, "predict_proba")
    want = find_thresholds(scores, y, method=method, folds=folds, start=0.5)
    np.testing.assert_array_equal(clf.thresholds_, want.thresholds)
    probs = estimator.fit(X, y).predict_proba(X).astype(np.float32)
    np.testing.assert_array_equal(clf.predict(X), probs.astype(float) > want.thresholds)


@pytest.mark.parametrize("estimator, response", [
    (OneVsRestClassifier(LinearSVC(random_state=0)), "decision_function"),
    (RandomForestClassifier(20, random_state=0), "predict_proba"),  # a list of arrays
    (KNeighborsClassifier(), "predict_proba"),
], ids=str)
def test_scores_of_every_shape(estimator, response, table):
    X, y = table
    clf = ThresholdedClassifier(estimator, cv=4).fit(X, y)
    folds = stratified_folds(y, 4, seed=0)
    want = find_thresholds(left_out_scores(estimator, X, y, folds, response), y, folds=folds,
                           start=0.5 if response == "predict_proba" else 0.0)
    np.testing.assert_array_equal(clf.thresholds_, want.thresholds)
    assert clf.multilabel_ and clf.predict(X).shape == y.shape
    np.testing.assert_array_equal(clf.predict(X), clf.decision_function(X) > 0)
    assert hasattr(clf, "predict_proba") == (response == "predict_proba")


@pytest.mark.parametrize("response", ["predict_proba", "decision_function"])
def test_two_classes(response):
    X, y = make_classification(300, weights=[0.9], flip_y=0.1, random_state=1)
    names = np.array(["no", "yes"])[y]
    clf = ThresholdedClassifier(LogisticRegression(), response_method=response).fit(X, names)
    folds = stratified_folds(y[:, None], 3, seed=0)
    scores = left_out_scores(LogisticRegression(), X, y[:, None], folds, response)
    want = find_thresholds(scores, y, folds=folds,
                           start=0.5 if response == "predict_proba" else 0.0)
    np.testing.assert_array_equal(clf.thresholds_, want.thresholds)
    assert clf.classes_.tolist() == ["no", "yes"] and not clf.multilabel_
    assert set(clf.predict(X)) == {"no", "yes"} and clf.decision_function(X).shape == (300,)
    np.testing.assert_array_equal(clf.predict(X) == "yes", clf.decision_function(X) > 0)


def test_rare_labels_gain():
    X, y = make_classification(1200, weights=[0.95], flip_y=0.02, class_sep=0.7, random_state=2)
    train, test = slice(0, 800), slice(800, None)
    plain = LogisticRegression().fit(X[train], y[train])
    tuned = ThresholdedClassifier(LogisticRegression()).fit(X[train], y[train])
    before, after = (f1_score(y[test], clf.predict(X[test])) for clf in (plain, tuned))
    assert after > before + 0.05


def test_pooled_and_fbr(table):
    X, y = table
    estimator = OneVsRestClassifier(LogisticRegression())
    folds = stratified_folds(y, 3, seed=7)
    scores = left_out_scores(estimator, X, y, folds, "predict_proba")
    for options in ({"pooled": True}, {"method": "scutfbr1", "fbr": 0.6}):
        clf = ThresholdedClassifier(estimator, random_state=7, **options).fit(X, y)
        given = {} if "pooled" in options else {"folds": folds}
        want = find_thresholds(scores, y, start=0.5, **options, **given)
        np.testing.assert_array_equal(clf.thresholds_, want.thresholds)


def test_folds_of_a_splitter(table):
    X, y = table
    estimator, cv = OneVsRestClassifier(LogisticRegression()), KFold(5)
    clf = ThresholdedClassifier(estimator, cv=cv).fit(X, y)
    folds = np.repeat(np.arange(5), 80)
    scores = cross_val_predict(estimator, X, y, cv=cv, method="predict_proba")
    want = find_thresholds(scores, y, folds=folds, start=0.5)
    np.testing.assert_array_equal(clf.thresholds_, want.thresholds)
    with pytest.raises(ValueError, match="`cv` must leave each sample out once"):
        clf.set_params(cv=ShuffleSplit(3, random_state=0)).fit(X, y)


def test_a_fitted_estimator_is_left_as_it_is(table):
    X, y = table
    fitted = OneVsRestClassifier(LogisticRegression()).fit(X[:200], y[:200])
    clf = ThresholdedClassifier(fitted, cv="prefit").fit(X[200:], y[200:])
    want = find_thresholds(fitted.predict_proba(X[200:]), y[200:], start=0.5)
    np.testing.assert_array_equal(clf.thresholds_, want.thresholds)
    assert clf.estimator_ is fitted


def test_in_a_pipeline_and_a_search(table):
    X, y = table
    clf = ThresholdedClassifier(OneVsRestClassifier(LogisticRegression()))
    pipe = make_pipeline(StandardScaler(), clf)
    grid = {"thresholdedclassifier__method": ["scut", "micro"],
            "thresholdedclassifier__estimator__estimator__C": [0.1, 1.0]}
    search = GridSearchCV(pipe, grid, scoring="f1_macro", cv=3).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    best = search.best_estimator_[-1]
    assert best.method in ("scut", "micro") and best.n_features_in_ == 12
    assert search.predict(X).shape == y.shape
    assert cross_val_score(pipe, X, y, scoring="average_precision", cv=3).min() > 0.5
    assert cross_val_predict(pipe, X, y, cv=3).shape == y.shape


def test_scores_keep_the_order_of_each_label(table):
    X, y = table
    clf = ThresholdedClassifier(OneVsRestClassifier(LogisticRegression())).fit(X, y)
    a, b = (average_precision_score(y, s) for s in (clf.decision_function(X),
                                                    clf.predict_proba(X)))
    assert a == pytest.approx(b)


def test_parameters_and_names_of_columns(table):
    X, y = table
    clf = ThresholdedClassifier(OneVsRestClassifier(LogisticRegression(C=2.0)))
    assert clf.get_params()["estimator__estimator__C"] == 2.0
    other = clone(clf.set_params(estimator__estimator__C=3.0, method="pcut"))
    assert (other.estimator.estimator.C, other.method) == (3.0, "pcut")
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(12)])
    other.set_params(estimator=KNeighborsClassifier()).fit(frame, pd.DataFrame(y))
    assert other.feature_names_in_.tolist() == list(frame.columns)
    assert str(other.found_).startswith("label")


@pytest.mark.parametrize("clf, y, message", [
    (ThresholdedClassifier(LinearRegression()), [0, 1] * 10, "`estimator` must have predict_proba"),
    (ThresholdedClassifier(LinearSVC(), response_method="predict_proba"), [0, 1] * 10,
     "`estimator` must have predict_proba, got"),
    (ThresholdedClassifier(LogisticRegression(), method="best"), [0, 1] * 10, "`method` must be"),
    (ThresholdedClassifier(LogisticRegression(), cv="five"), [0, 1] * 10, "`cv` must be 'prefit'"),
    (ThresholdedClassifier(LogisticRegression(), cv=1), [0, 1] * 10, "`cv` must be an integer of"),
    (ThresholdedClassifier(LogisticRegression()), [0] * 20, "two classes, got one class"),
    (ThresholdedClassifier(LogisticRegression()), [0, 1, 2, 3] * 5, "`y` must hold two classes, or"
     ".*Only binary"),
    (ThresholdedClassifier(LogisticRegression()), None, "target y is None"),
])
def test_refused(clf, y, message):
    with pytest.raises(ValueError, match=f"ThresholdedClassifier: .*{message}"):
        clf.fit(np.arange(40.0).reshape(20, 2), y)


# --- photos


@pytest.fixture(scope="module")
def bright():
    """Photos of patches in three colors, uint8 (60, 16, 16, 3), and lists of labels."""
    items = photos(60, seed=1)
    return np.stack([image for image, _ in items]), [labels for _, labels in items]


def indicator(labels):
    return np.array([[int(label in row) for label in LABELS] for row in labels])


def test_arrays_and_lists_of_labels(bright):
    X, y = bright
    clf = tiny_classifier(epochs=12).fit(X, y)
    assert clf.classes_.tolist() == list(LABELS) and clf.multilabel_
    probs, found = clf.predict_proba(X), clf.predict(X)
    assert probs.dtype == np.float64 and probs.shape == found.shape == (60, 3)
    np.testing.assert_array_equal(found, probs > 0.5)
    assert f1_score(indicator(y), found, average="macro") > 0.9
    assert clf.score(X, y) == clf.score(X, indicator(y)) == (found == indicator(y)).all(1).mean()
    with pytest.raises(ValueError, match="`y` must hold labels of .*, got 'green bear'"):
        clf.score(X, [["green bear"]] * 60)


def test_every_form_gives_the_same_bits(bright, tmp_path):
    X, y = bright
    files = []
    for i, pixels in enumerate(X):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        files.append(tmp_path / f"{i}.png")
    want = tiny_classifier().fit(X, y).predict_proba(X)
    rows = X.reshape(60, -1).astype(float)
    rows[0, :2] = 0, 255  # what is black and white
    same = {
        "paths": (files, y),
        "texts": (list(map(str, files)), indicator(y).tolist()),
        "an array of texts": (np.array(list(map(str, files))), indicator(y)),
        "a column": (pd.Series(files), pd.DataFrame(indicator(y), columns=LABELS)),
        "pictures": ([Image.fromarray(pixels) for pixels in X], [tuple(row) for row in y]),
        "arrays": (list(X), [set(row) for row in y]),
        "bytes": ([f.read_bytes() for f in files], y),
    }
    for name, (given, labels) in same.items():
        clf = tiny_classifier().fit(given, labels)
        np.testing.assert_array_equal(clf.predict_proba(given), want, err_msg=name)
        assert not hasattr(clf, "n_features_in_")


def test_rows_of_a_matrix_are_flattened_pictures(bright):
    X, y = bright
    X = X.copy()
    X[0, 0, 0, :2] = 0, 255  # what is black and white
    rows = X.reshape(60, -1) / 51 - 2
    clf = tiny_classifier(image_shape=(16, 16, 3)).fit(rows, y)
    want = tiny_classifier().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(clf.predict_proba(rows), want)
    assert clf.n_features_in_ == 768


def test_digits():
    X, y = load_digits(n_class=2, return_X_y=True)
    clf = tiny_classifier(image_shape=(8, 8)).fit(X[:240], y[:240])
    assert clf.score(X[240:], y[240:]) > 0.9
    np.testing.assert_allclose(clf.predict_proba(X).sum(axis=1), 1)


def test_thresholds_of_a_method(bright):
    X, y = bright
    clf = tiny_classifier(thresholds="micro", held_out=0.5).fit(X, y)
    assert clf.thresholds_.shape == (3,) and clf.thresholds_.std() > 0
    probs = clf.predict_proba(X).astype(np.float32)
    np.testing.assert_array_equal(clf.predict(X), probs > clf.thresholds_)
    np.testing.assert_array_equal(clf.learner_.loss_func.thresh, clf.thresholds_)
    fixed = tiny_classifier(thresholds=[0.2, 0.5, np.inf]).fit(X, y)
    assert not fixed.predict(X)[:, 2].any()


def test_what_is_pickled_is_a_model_file(bright):
    X, y = bright
    clf = tiny_classifier().fit(X, y)
    data = pickle.dumps(clf)
    names = {arg for op, arg, _ in pickletools.genops(data) if isinstance(arg, str)}
    assert not any("Learner" in name or name.startswith("mlclassify.") for name in
                   names - {"mlclassify.sklearn"})
    assert any(isinstance(arg, bytes) and b'"mlclassify.learner"' in arg
               for _, arg, _ in pickletools.genops(data))
    want = clf.predict_proba(X)
    for other in (pickle.loads(data), copy.deepcopy(clf)):
        np.testing.assert_array_equal(other.predict_proba(X), want)
        assert other.get_params() == clf.get_params()
    assert len(pickle.dumps(clone(clf))) < 2000  # what is not fitted holds no model


def test_in_tools_around_it(bright, tmp_path):
    X, y = bright
    targets = indicator(y)
    search = GridSearchCV(tiny_classifier(), {"lr": [1e-4, 1e-2]}, cv=KFold(3))
    search.fit(list(X), y)  # scored by the classifier itself, which knows lists of labels
    assert search.best_params_ == {"lr": 1e-2}
    probs = cross_val_predict(tiny_classifier(epochs=8), X, targets, cv=3, method="predict_proba")
    assert average_precision_score(targets, probs) > 0.8
    pipe = make_pipeline(StandardScaler(), tiny_classifier(image_shape=(16, 16, 3)))
    assert pipe.fit(X.reshape(60, -1), targets).predict(X.reshape(60, -1)).shape == (60, 3)
    tuned = ThresholdedClassifier(tiny_classifier(epochs=6)).fit(X, targets)
    assert tuned.predict(X).shape == (60, 3) and tuned.thresholds_.shape == (3,)
    path = search.best_estimator_.learner_.export(tmp_path / "best.safetensors")
    assert path.exists()


def test_seeds(bright):
    X, y = bright
    first, second = (tiny_classifier().fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    before = np.random.get_state()[1].tolist()
    other = tiny_classifier().set_params(random_state=None).fit(X, y).predict_proba(X)
    assert np.abs(other - first).max() > 0 and np.random.get_state()[1].tolist() == before
    drawn = tiny_classifier().set_params(random_state=np.random.RandomState(3)).fit(X, y)
    assert np.abs(drawn.predict_proba(X) - first).max() > 0


def test_verbose_prints_epochs(bright, capsys):
    tiny_classifier(epochs=2).fit(*bright)
    assert capsys.readouterr().out == ""
    tiny_classifier(epochs=2, verbose=True).fit(*bright)
    assert "train_loss" in capsys.readouterr().out


@pytest.mark.parametrize("options, X, y, message", [
    ({}, np.zeros((4, 8, 8, 1), np.uint8), [0, 1] * 2, "`X` as arrays must be uint8 of shape"),
    ({}, np.zeros((4, 8, 8, 3)), [0, 1] * 2, "`X` as arrays must be uint8 .* got float64"),
    ({}, np.zeros((1, 8, 8, 3), np.uint8), [[0, 1]], "at least two photos, got n_samples = 1"),
    ({"image_shape": (3, 3)}, np.eye(4), [0, 1] * 2, r"`image_shape` must be .* of 4 numbers"),
    ({"thresholds": "best"}, np.eye(4), [0, 1] * 2, "`thresholds` must be 'scut'"),
    ({"thresholds": 5}, np.eye(4), [0, 1] * 2, "`thresholds` must lie in"),
    ({"thresholds": [.5, .5]}, np.eye(4), [0, 1] * 2, "`thresholds` must .* shape"),
    ({"thresholds": "scut", "held_out": 0.9}, np.eye(4), [0, 1] * 2, "`held_out` must leave"),
    ({"batch_size": 1}, np.eye(4), [0, 1] * 2, "`batch_size` must be an integer of at least 2"),
    ({}, np.eye(4), ["a", "b", "c", "c"], "Only binary classification"),
])
def test_refused_for_photos(options, X, y, message):
    with pytest.raises(ValueError, match=f"MultiLabelImageClassifier: .*{message}"):
        tiny_classifier(**options).fit(X, y)


def test_photos_and_matrices_are_not_mixed(bright):
    X, y = bright
    with pytest.raises(ValueError, match="`X` must be photos, as what it was fitted to"):
        tiny_classifier().fit(X, y).predict(X.reshape(60, -1))
    with pytest.raises(ValueError, match="`X` must be a matrix, as what it was fitted to"):
        tiny_classifier().fit(X.reshape(60, -1), y).predict(X)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        tiny_classifier().fit(X, y[:-1])


def test_bears(shared):
    """A pretrained network on real photos, in scikit-learn's hands from paths to a score."""
    files = [f for kind in ("black", "teddy")
             for f in get_image_files(shared(f"bears/{kind}"))[:30]]
    labels = [[f.parent.name] for f in files]
    clf = MultiLabelImageClassifier(weights=shared("weights/resnet18-imagenet.safetensors"),
                                    size=96, epochs=1, batch_size=10, random_state=1)
    clf.fit(files[:20] + files[30:50], labels[:20] + labels[30:50])
    test = files[20:30] + files[50:]
    assert clf.score(test, labels[20:30] + labels[50:]) > 0.6
    assert average_precision_score(indicator_of(labels[20:30] + labels[50:], clf.classes_),
                                   clf.predict_proba(test)) > 0.9


def indicator_of(labels, classes):
    return np.array([[int(label in row) for label in classes] for row in labels])


def test_without_scikit_learn():
    code = "import sys; sys.modules['sklearn'] = None; import mlclassify.sklearn"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "ImportError: mlclassify.sklearn: needs scikit-learn" in run.stderr
    assert "pip install 'mlclassify[sklearn]'" in run.stderr
