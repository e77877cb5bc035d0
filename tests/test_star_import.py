"""What ``from mlclassify.vision.all import *`` gives, and what importing costs."""

import subprocess
import sys

import pytest

from mlclassify.vision import all as everything
from mlclassify.vision.all import LazyModule

POST = """tensor torch F nn np pd plt Image Path partial L flatten_check BaseLoss use_kwargs_dict
BCEWithLogitsLossFlat DataBlock ImageBlock MultiCategoryBlock Pipeline parent_label get_image_files
verify_images RandomSplitter RandomResizedCrop aug_transforms cnn_learner vision_learner resnet18
accuracy_multi APScoreMulti load_learner set_seed drawn_bears ColReader ColSplitter
best_threshold Normalize imagenet_stats Resize scrape_images""".split()


def imported_by(statement):
    """The modules that a fresh process has imported after `statement`."""
    code = f"import sys; {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_every_name_exists():
    assert sorted(everything.__all__) == everything.__all__
    assert not [name for name in everything.__all__ if not hasattr(everything, name)]
    assert set(POST) <= set(everything.__all__)


def brought_by(statement):
    """The packages that `statement` brings in, other than Python's own."""
    found = imported_by(statement) - imported_by("pass")  # an editable install has a finder
    return {name.split(".")[0] for name in found} - set(sys.stdlib_module_names)


def test_importing_the_package_imports_nothing():
    assert {m for m in imported_by("import mlclassify") if m.startswith("mlclassify")} == {
        "mlclassify"}
    assert brought_by("import mlclassify") == {"mlclassify"}


def test_names_of_the_package_are_found_when_used():
    loaded = imported_by("import mlclassify; mlclassify.set_seed(1); mlclassify.load_learner")
    assert "mlclassify.learner" in loaded
    assert "load_learner" in dir(__import__("mlclassify"))
    with pytest.raises(AttributeError, match="module 'mlclassify' has no attribute 'bears'"):
        __import__("mlclassify").bears


def test_the_star_import_brings_numpy_and_pillow_and_nothing_else():
    star = "from mlclassify.vision.all import *"
    assert brought_by(star) == {"mlclassify", "numpy", "PIL"}
    servers = {"asyncio", "http.client", "http.server", "multiprocessing", "urllib.request"}
    assert not servers & imported_by(star)


def test_pandas_and_pyplot_come_when_used():
    loaded = imported_by("from mlclassify.vision.all import *; pd.DataFrame; plt.plot")
    assert {"pandas", "matplotlib.pyplot"} <= loaded


def test_a_lazy_module_is_the_module():
    pandas = pytest.importorskip("pandas")
    lazy = LazyModule("pandas")
    assert lazy.DataFrame is pandas.DataFrame and lazy.__version__ == pandas.__version__
    assert "DataFrame" in dir(lazy) and "when first used" in repr(lazy)
    with pytest.raises(AttributeError):
        lazy.no_such_name
    pandas_name = "name_for_a_test"
    setattr(lazy, pandas_name, 3)
    assert getattr(pandas, pandas_name) == 3
    delattr(pandas, pandas_name)


def test_a_module_that_is_not_installed_says_the_way():
    lazy = LazyModule("no_such_module_at_all")
    with pytest.raises(ModuleNotFoundError) as caught:
        lazy.anything
    assert caught.value.__notes__ == ["pip install 'mlclassify[notebook]' brings it"]
    assert not hasattr(lazy, "__wrapped__")
