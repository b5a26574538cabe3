"""Gradients by the pixels against Captum, closed forms, and what they are refused for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import CaptionNet
from capjax.decoders import LSTM
from capjax.encoders import EfficientNetV2, ViT
from capjax.encoders.encoder import Encoder, for_one_call
from capjax.explainers import (
    EigenCAM,
    GradCAM,
    GradientInput,
    GuidedBackprop,
    GuidedGradCAM,
    IntegratedGradientsPixels,
    Saliency,
    ScoreCAM,
)
from capjax.explainers.programs import make_request
from capjax.types import Features
from tests.explainers.toys import Formula, pixel_maps, pixel_net
from tests.golden import captum_methods as golden

METHODS = {
    "saliency": Saliency(),
    "gradient_input": GradientInput(),
    "ig_black": IntegratedGradientsPixels(steps=golden.STEPS, baseline="black"),
    "ig_mean": IntegratedGradientsPixels(steps=golden.STEPS, baseline="mean"),
    "guided_backprop": GuidedBackprop(),
    "guided_gradcam": GuidedGradCAM(),
    "gradcam": GradCAM(),
}
DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def answers():
    """Maps of every method for the captioner that Captum explained, all in one program.

    It is the same captioner: its words have the same probabilities.
    """
    net, variables = golden.net(), golden.variables()

    @jax.jit
    def answer(images):
        features = net.apply(variables, images, method="encode")
        one = golden.TOKENS[:, None], golden.LENGTHS[:, None], golden.words()[:, None]
        request = make_request(net, variables, features, *one, images=images)
        found = {key: one(net, variables, request)[one.NAME] for key, one in METHODS.items()}
        return request.forced.log_probs[:, 0], jax.tree.map(lambda leaf: leaf[:, 0], found)

    log_probs, maps = answer(golden.pixels())
    real = np.arange(golden.WORDS) < golden.LENGTHS[:, None]
    golden.close(np.where(real, log_probs, 0), golden.expected()["log_probs"], 1e-5)
    return maps


@pytest.mark.parametrize(
    ("name", "key", "over"),
    [
        ("saliency", "gradient", lambda maps: np.abs(maps).max(-1)),
        ("gradient_input", "input_x_gradient", lambda maps: maps.sum(-1)),
        ("ig_black", "ig_black", lambda maps: maps.sum(-1)),
        ("ig_mean", "ig_mean", lambda maps: maps.sum(-1)),
        ("guided_backprop", "guided_backprop", lambda maps: maps.sum(-1)),
        ("guided_gradcam", "guided_gradcam", lambda maps: maps.sum(-1)),
        ("gradcam", "gradcam_stage1", lambda maps: maps),
    ],
)
def test_equals_captum(answers, name, key, over):
    golden.close(answers[name].values[:, :, 0], over(golden.expected()[key]))


def test_guided_grad_cam_is_zero_where_grad_cam_is(answers):
    """Far from any positive cell of the class activation map."""
    near = np.asarray(answers["gradcam"].values) > 0
    for axis in (-2, -1):
        near = near | np.roll(near, 1, axis) | np.roll(near, -1, axis)
    away = ~near.repeat(4, axis=-2).repeat(4, axis=-1)
    assert away.any() and not away.all()
    assert not np.asarray(answers["guided_gradcam"].values)[away].any()


@pytest.mark.parametrize("clip", [False, True])
def test_of_a_linear_score_they_have_closed_forms(clip):
    """T-XAI-02, on images and on clips: F = w . x, once a word."""
    shape = (2, 3, 4, 5, 3) if clip else (2, 4, 5, 3)
    images = DRAW.integers(0, 256, shape).astype(np.float32)
    w = DRAW.normal(size=(2, 60 * (3 if clip else 1))).astype(np.float32)
    mean = (10.0, 120.0, 240.0)
    net = pixel_net(lambda x: x.reshape(len(x), -1) @ w.T, mean)
    methods = (Saliency(), GradientInput(), IntegratedGradientsPixels(steps=1, baseline="mean"))
    saliency, product, path = pixel_maps(net, methods, images, words=2)
    slopes = np.broadcast_to(w.reshape(2, *shape[1:]), (2, *w.reshape(2, *shape[1:]).shape))
    slopes = slopes.reshape(2, 2, *shape[-4:-3] if clip else (1,), 4, 5, 3)
    np.testing.assert_array_equal(saliency.values, np.abs(slopes).max(-1))
    moved = (images - mean).reshape(2, 1, *slopes.shape[2:])
    np.testing.assert_allclose(product.values, (moved * slopes).sum(-1), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(path.values, product.values, rtol=1e-4, atol=1e-2)
    gained = (moved * slopes).sum((-1, -2, -3, -4))
    np.testing.assert_allclose(product.values.sum((-1, -2, -3)), gained, rtol=1e-4, atol=1e-1)


class OneLayer(Encoder):
    """relu(4 x - 2) of every value."""

    relu: object = for_one_call(jax.nn.relu)

    def __call__(self, images, train=False, remat=False):
        return Features.from_grid(self.relu(4 * images - 2))


def test_guided_backprop_of_one_layer():
    """g 1[x > 0] 1[g > 0], by hand."""
    pixels = np.array([[[0.2, 0.8, 0.9]], [[0.7, 0.1, 0.6]]])  # [2 1 3], two rows
    v = np.array([[[[1.0, -2.0, 3.0], [-5.0, 7.0, 11.0]]]])
    formula = Formula(lambda x: (x * v).sum((1, 2, 3))[:, None])
    net = CaptionNet(OneLayer(), formula, (0.0,) * 3, (1.0,) * 3)
    (maps,) = pixel_maps(net, (GuidedBackprop(),), np.stack([pixels, pixels[::-1]]))
    expected = [[4 * 3, 4 * 11], [4 * (1 + 3), 4 * (7 + 11)]]
    np.testing.assert_allclose(maps.values[:, 0, 0, :, 0], expected)


@pytest.mark.parametrize("encoder", [EfficientNetV2(), ViT()])
def test_guided_methods_refuse_encoders_without_relu(encoder):
    """T-XAI-05."""
    net = CaptionNet(encoder, LSTM(vocab_size=5, features=8), (0.0,) * 3, (1.0,) * 3)
    for method in (GuidedBackprop(), GuidedGradCAM()):
        text = f"{method.NAME} is defined for encoders of ReLUs.*choose saliency"
        with pytest.raises(ValueError, match=text):
            method.prepare(net)


@pytest.mark.parametrize(
    ("cam", "text"),
    [
        (Saliency(), "got cam=saliency, which is no class activation map; choose gradcam"),
        (EigenCAM(), "eigencam shows what was read, and explains no score; choose another method"),
        (
            ScoreCAM(),
            "guided_gradcam explains the measure 'log_prob', and scorecam explains 'prob'",
        ),
    ],
)
def test_guided_gradcam_takes_class_activation_maps_of_its_own_measure(cam, text):
    with pytest.raises(ValueError, match=text):
        GuidedGradCAM(cam)


def test_pictures_are_needed():
    net = pixel_net(lambda x: x.sum((1, 2)))
    features = Features.from_grid(jnp.ones((1, 2, 2, 3)))
    one = np.zeros((1, 1, 1), int), np.ones((1, 1), int), np.ones((1, 1, 1, 1))
    request = make_request(net, {}, features, *one)
    with pytest.raises(
        ValueError, match="saliency reads the images, and this request has features only"
    ):
        Saliency()(net, {}, request)
