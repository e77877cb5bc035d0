"""Weights of torchvision, timm and fastai, by their names, in both directions.

The digests are of the names and shapes that these libraries have themselves (torchvision 0.29.2,
timm 1.0.31, fastai 2.8.12); ``benchmarks/exchange.py`` has them compute with what is written here.
"""

import hashlib

import numpy as np
import pytest
from tiny import tiny_learner

from mlclassify.calibration import Calibration
from mlclassify.checks import MLClassifyWarning
from mlclassify.data.block import empty_dataloaders
from mlclassify.learner import Learner
from mlclassify.vision.backbones import ARCHS
from mlclassify.vision.learner import vision_learner
from mlclassify.vision.models import create_classifier, create_model
from mlclassify.weight_names import NAMINGS
from mlclassify.weights import ModelFileError, read_tensors, write_tensors

FASTAI = {"resnet18": (110, "1e2c2f03baa992ab"), "resnet34": (190, "54bc23d133f23430"),
          "resnet50": (275, "dae38e8d006da9a5"), "resnet101": (530, "237aa740904af459"),
          "mobilenetv3_large_100": (272, "ad0673c6f2d19a50"),
          "efficientnet_b0": (319, "c5204646ae78d79a"),
          "convnext_tiny": (188, "3a301118748620e3")}
BODY = {"resnet18": (100, "43a9b5e01e6dc88a"), "resnet34": (180, "ccdf35a55b18384f"),
        "resnet50": (265, "9fb760970125b1e9"), "resnet101": (520, "5a1ad461b7161e1c"),
        "mobilenetv3_large_100": (262, "ff5d259a1c945cdd"),
        "efficientnet_b0": (309, "450a546895f2cf63"), "convnext_tiny": (178, "b9c96a68250f39a4")}
CLASSIFIER = {"mobilenetv3_large_100": (266, "3dba8ad57b7701f1"),
              "efficientnet_b0": (311, "f62a5c98a74c6670")}
LABELS = ["a", "b", "c", "d", "e"]


def learner(arch="resnet18", seed=1, path="."):
    dls = empty_dataloaders(LABELS)
    return Learner(dls, create_model(ARCHS[arch], 5, seed=seed), seed=1, path=path)


def digest(tensors):
    """What the libraries' own state dicts were told by, all five labels, without the counts."""
    lines = sorted(f"{name} {value.shape}" for name, value in tensors.items())
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@pytest.mark.parametrize("arch", FASTAI)
def test_names_and_shapes_are_theirs(arch, tmp_path):
    learn = learner(arch, path=tmp_path)
    for names in (None, *NAMINGS):
        if names == "torchvision" and ARCHS[arch].library != names:
            continue
        tensors, metadata = read_tensors(learn.export_weights(names=names), "test")
        assert digest(tensors) == (FASTAI if names == "fastai" else BODY)[arch]
        assert metadata == {"format": "pt"}  # without it transformers and timm ask what it is


@pytest.mark.parametrize("arch", CLASSIFIER)
def test_names_and_shapes_of_imagenets_networks_are_timms(arch):
    assert digest(create_classifier(ARCHS[arch]).state_dict()) == CLASSIFIER[arch]


def test_torchvision_has_no_names_for_timms_networks(tmp_path):
    message = (r"export_weights: `names` must be 'timm' or 'fastai' for a backbone that "
               r"torchvision calls otherwise, got 'torchvision'")
    with pytest.raises(ValueError, match=message):
        learner("efficientnet_b0", path=tmp_path).export_weights(names="torchvision")
    assert not any(tmp_path.iterdir())


def test_a_convolution_that_fastai_never_runs_is_left_out(tmp_path):
    learn = learner("mobilenetv3_large_100", path=tmp_path)
    tensors, _ = read_tensors(learn.export_weights(names="fastai"), "test")
    tensors |= {"0.model.conv_head.weight": np.ones((1280, 960, 1, 1), np.float32),
                "0.model.conv_head.bias": np.ones(1280, np.float32)}
    write_tensors(tmp_path / "theirs.safetensors", tensors)
    other = learner("mobilenetv3_large_100", 2, tmp_path).load_weights("theirs.safetensors")
    np.testing.assert_array_equal(other.model.state_dict()["blocks.6.0.conv.weight"],
                                  learn.model.state_dict()["blocks.6.0.conv.weight"])


@pytest.mark.parametrize("arch", CLASSIFIER)
def test_a_classifier_of_timms_is_a_body_to_start_from(arch, tmp_path):
    state = create_classifier(ARCHS[arch], seed=4).state_dict()
    write_tensors(tmp_path / f"{arch}.safetensors", state)
    learn = vision_learner(empty_dataloaders(LABELS), arch, weights=tmp_path, seed=3)
    np.testing.assert_array_equal(learn.model.state_dict()["conv_stem.weight"],
                                  state["conv_stem.weight"])


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv3_large_100", "efficientnet_b0"])
def test_a_whole_model_comes_back(arch, tmp_path):
    learn = learner(arch, path=tmp_path)
    path = learn.export_weights("fastai.safetensors", names="fastai")
    other = learner(arch, seed=2, path=tmp_path)
    assert other.load_weights(path) is other
    for name, value in learn.model.state_dict().items():
        np.testing.assert_array_equal(other.model.state_dict()[name], value)


def test_counts_of_batches_are_left_out(tmp_path):
    learn = learner(path=tmp_path)
    tensors, _ = read_tensors(learn.export_weights(names="fastai"), "test")
    tensors["0.1.num_batches_tracked"] = np.array(7)
    write_tensors(tmp_path / "counted.safetensors", tensors)
    assert learner(seed=2, path=tmp_path).load_weights("counted.safetensors").model.pretrained


@pytest.mark.parametrize("names", NAMINGS)
def test_a_body_leaves_the_head_alone(names, tmp_path):
    learn, other = learner(path=tmp_path), learner(seed=2, path=tmp_path)
    tensors, _ = read_tensors(learn.export_weights(names=names), "test")
    write_tensors(tmp_path / "body.safetensors",
                  {name: value for name, value in tensors.items() if not name.startswith("1.")})
    before = other.model.state_dict()
    other.load_weights("body.safetensors")
    want = learn.model.state_dict()
    for name, value in other.model.state_dict().items():
        head = name.startswith("head.")
        np.testing.assert_array_equal(value, (before if head else want)[name])


def test_a_fine_tuned_body_is_what_another_training_starts_from(tmp_path):
    learn = learner(path=tmp_path)
    for names in NAMINGS:
        path = learn.export_weights(f"{names}.safetensors", names)
        other = vision_learner(empty_dataloaders(LABELS), "resnet18", weights=path, seed=3)
        np.testing.assert_array_equal(other.model.state_dict()["layer4.1.conv2.weight"],
                                      learn.model.state_dict()["layer4.1.conv2.weight"])


def test_a_model_of_imagenet_keeps_its_head(tmp_path):
    model = create_classifier(ARCHS["resnet18"], 5)
    learn = Learner(empty_dataloaders(LABELS), model, seed=1, path=tmp_path)
    tensors, _ = read_tensors(learn.export_weights(), "test")
    np.testing.assert_array_equal(tensors["fc.weight"], model.state_dict()["fc.weight"])
    assert len(tensors) == 102


@pytest.mark.parametrize("spoil, message", [
    (lambda t: t.pop("1.6.bias"), "'head.bn2.bias' missing"),
    (lambda t: t.update({"1.8.weight": np.zeros((4, 512), np.float32)}), "of shape"),
    (lambda t: t.update({"1.9.weight": np.zeros(3, np.float32)}), "'1.9.weight' unknown"),
])
def test_a_file_that_does_not_fit_changes_nothing(spoil, message, tmp_path):
    learn, other = learner(path=tmp_path), learner(seed=2, path=tmp_path)
    tensors, _ = read_tensors(learn.export_weights(names="fastai"), "test")
    spoil(tensors)
    write_tensors(tmp_path / "spoiled.safetensors", tensors)
    before = other.model.state_dict()
    with pytest.raises(ModelFileError, match=f"load_weights: .*must fit this learner.*{message}"):
        other.load_weights("spoiled.safetensors")
    for name, value in other.model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_body_of_another_depth(tmp_path):
    path = learner("resnet18", path=tmp_path).export_weights()
    with pytest.raises(ModelFileError, match="must hold all weights of the backbone"):
        learner("resnet34").load_weights(path)


def test_what_was_fitted_is_forgotten(tmp_path):
    learn = tiny_learner(path=tmp_path)
    path = learn.export_weights(names="torchvision")
    learn.loss_func.calibration = Calibration(0.5, 0.0)
    with pytest.warns(MLClassifyWarning, match="load_weights: another set of weights"):
        learn.load_weights(path)
    assert learn.loss_func.calibration is None


def test_refused(tmp_path):
    learn = tiny_learner(path=tmp_path)
    with pytest.raises(ValueError, match="export_weights: `names` must be 'torchvision' or 'timm'"):
        learn.export_weights(names="keras")
    with pytest.raises(ValueError, match="export_weights: `fname` must end in .safetensors"):
        learn.export_weights("weights.pth")
    with pytest.raises(FileNotFoundError, match="load_weights: there is no file"):
        learn.load_weights("nowhere.safetensors")
    assert not list(tmp_path.iterdir())
