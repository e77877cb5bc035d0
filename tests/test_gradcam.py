"""Grad-CAM: the gradient of the head by finite differences, the map from its definition."""

import numpy as np
import pytest
from tiny import tiny

from mlclassify.arrays import images_to_c
from mlclassify.gradcam import grad_cam, head_gradient, head_logits
from mlclassify.vision.models import create_classifier, create_model


def trained(model, rng):
    """Give a model's batch norms statistics, scales and shifts that are not those of the start."""
    own = model.state_dict()
    for name, value in own.items():
        if name.rpartition(".")[0].rpartition(".")[2].startswith("bn"):
            own[name] = rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
    model.load_state_dict(own)
    return model


@pytest.fixture(params=["concatenated", "mean alone"])
def model(request, rng):
    if request.param == "mean alone":
        return trained(create_classifier(tiny, 5, seed=2), rng)
    return trained(create_model(tiny, 5, seed=2), rng)


@pytest.fixture
def images(rng):
    return rng.normal(size=(3, 3, 20, 28)).astype(np.float32)


def test_the_head_in_float64_is_the_networks(model, images):
    logits, feature_map = model.forward_with_map(images_to_c(images))
    assert feature_map.shape == (3, 16, 5, 7) and feature_map.dtype == np.float32
    np.testing.assert_array_equal(logits, model.forward(images_to_c(images)))
    ours = head_logits(model, feature_map.astype(np.float64))[0]
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, logits, rtol=2e-5, atol=2e-6)


def test_the_gradient_is_that_of_finite_differences(model, rng):
    # No two values of a channel are alike, so that maxima do not change under a small step.
    feature_map = rng.permuted(np.linspace(0, 3, 2 * 16 * 12)).reshape(2, 16, 3, 4)
    gradient = head_gradient(model, feature_map, 3)
    step = 1e-6
    for at in rng.integers(0, feature_map.size, 60):
        near = np.zeros(feature_map.size)
        near[at] = step
        near = near.reshape(feature_map.shape)
        up, down = (head_logits(model, feature_map + s * near)[0][:, 3].sum() for s in (1, -1))
        assert gradient.flat[at] == pytest.approx((up - down) / (2 * step), rel=1e-6, abs=1e-8)
    for channel in range(16):  # and of every maximum
        at = np.unravel_index(feature_map[1, channel].argmax(), (3, 4))
        near = np.zeros(feature_map.shape)
        near[1, channel][at] = step
        up, down = (head_logits(model, feature_map + s * near)[0][1, 3] for s in (1, -1))
        assert gradient[1, channel][at] == pytest.approx((up - down) / (2 * step), rel=1e-6,
                                                         abs=1e-8)


def test_the_map_is_its_definition(model, images):
    feature_map = model.forward_with_map(images_to_c(images))[1].astype(np.float64)
    for label in range(5):
        gradient = head_gradient(model, feature_map, label)
        heat = grad_cam(model, images, label)
        assert heat.shape == (3, 5, 7)
        for n in range(3):
            total = sum(gradient[n, k].mean() * feature_map[n, k] for k in range(16))
            np.testing.assert_allclose(heat[n], np.maximum(total, 0), rtol=1e-9, atol=1e-12)
    assert any(grad_cam(model, images, label).any() for label in range(5))


def test_the_map_is_where_the_evidence_is(rng):
    """One channel sees brightness and the logit reads it: the map is where the patch is."""
    model = create_classifier(tiny, 1, seed=2)
    own = {name: np.zeros_like(value) for name, value in model.state_dict().items()}
    for name, value in own.items():
        if name.endswith(("running_var", "bn1.weight", "bn.weight")):
            value[:] = 1
    own["conv1.weight"][0, :, 1, 1] = own["layer1.conv.weight"][0, 0, 1, 1] = 1
    own["fc.weight"][0, 0] = 1
    model.load_state_dict(own)
    image = np.zeros((1, 3, 32, 32), np.float32)
    image[:, :, 8:16, 20:28] = 1
    heat = grad_cam(model, image, 0)[0]
    want = np.zeros((8, 8), bool)
    want[2:4, 5:7] = True
    np.testing.assert_array_equal(heat > 0, want)
