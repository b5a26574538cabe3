"""SmoothGrad and VarGrad: closed forms under noise, around any method, and their draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.explainers import (
    LIME,
    GradientInput,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
    VarGrad,
)
from capjax.explainers.choosing import choose
from capjax.explainers.programs import make_request
from tests.explainers.toys import pixel_maps, pixel_net

DRAW = np.random.default_rng(0)
IMAGES = DRAW.uniform(0, 255, (2, 3, 4, 3)).astype(np.float32)
W = DRAW.normal(size=(2, 36)).astype(np.float32)
LINEAR = pixel_net(lambda x: x.reshape(len(x), -1) @ W.T)
SLOPES = W.reshape(1, 2, 1, 3, 4, 3)


def test_of_a_linear_score_the_noise_has_a_closed_form():
    """The map of a copy is the sum of w (x + noise): normal, and its mean and variance are known.

    Without noise, and where the gradient is the same everywhere, it is the method's own map.
    """
    methods = (
        SmoothGrad(samples=200, level=0.1),
        VarGrad(samples=200, level=0.1),
        SmoothGrad(samples=2, level=0.0),
        SmoothGrad(Saliency(), samples=3),
        VarGrad(Saliency(), samples=3),
        GradientInput(),
    )
    mean, variance, still, steady, none, plain = pixel_maps(LINEAR, methods, IMAGES, words=2)
    sigma = 0.1 * np.ptp(IMAGES, axis=(1, 2, 3)).reshape(2, 1, 1, 1, 1)
    true = sigma**2 * np.square(SLOPES).sum(-1)
    # Nine in ten of the values are within two standard errors, and all within five.
    for found, wanted in ((mean, plain.values), (variance, true)):
        away = np.abs(found.values - wanted) / found.error
        assert 0.4 < np.mean(away < 1) and 0.9 < np.mean(away < 2) and away.max() < 5
    np.testing.assert_allclose(mean.error, np.sqrt(variance.values / 200), rtol=1e-4)
    # Of normal values the variance of the variance is known, too.
    assert 0.8 < np.mean(variance.error / (true * np.sqrt(2 / 199))) < 1.2
    np.testing.assert_allclose(still.values, plain.values, rtol=1e-5)
    np.testing.assert_allclose(steady.values[0], np.abs(SLOPES[0]).max(-1), rtol=1e-6)
    assert not still.error.any() and not none.values.any() and not none.error.any()
    np.testing.assert_array_equal(mean.flags["samples"], 200)


def test_moments_are_those_of_all_copies_at_once():
    """Against NumPy over the maps of every copy by itself."""
    net = pixel_net(lambda x: jnp.tanh(x.reshape(len(x), -1) @ W.T / 400))
    one = (np.zeros((2, 1, 1), int), np.ones((2, 1), int), np.ones((2, 1, 1, 1), np.float32))
    methods = {kind: kind(Saliency(), samples=6, level=0.3) for kind in (SmoothGrad, VarGrad)}

    @jax.jit
    def call(images, seeds):
        features = net.apply({}, images, method="encode")
        given = {"images": images, "seeds": seeds, "measure": "logit"}
        request = make_request(net, {}, features, *one, **given)
        copies = jax.lax.map(
            lambda index: methods[SmoothGrad]._of_copy(net, {}, request, index).values,
            jnp.arange(6),
        )
        answers = [method(net, {}, request)[kind.NAME] for kind, method in methods.items()]
        tally = methods[VarGrad].start(net, {}, request)
        for index in range(6):
            tally = methods[VarGrad].step(net, {}, request, tally, jnp.int32(index))
        return copies, answers, methods[VarGrad].finish(net, {}, request, tally)["vargrad"]

    seeds = np.array([3, 9], np.uint32)
    copies, (mean, variance), watched = call(IMAGES, seeds)
    copies = np.asarray(copies, np.float64)
    assert np.ptp(copies, axis=0).max() > 1e-4
    np.testing.assert_allclose(mean.values, copies.mean(0), rtol=1e-4)
    np.testing.assert_allclose(mean.error, copies.std(0, ddof=1) / np.sqrt(6), rtol=1e-3)
    np.testing.assert_allclose(variance.values, copies.var(0, ddof=1), rtol=1e-3)
    fourth = np.mean((copies - copies.mean(0)) ** 4, axis=0)
    wanted = np.sqrt((fourth - copies.var(0, ddof=1) ** 2 * 3 / 5) / 6)
    np.testing.assert_allclose(variance.error, wanted, rtol=1e-2, atol=1e-2 * wanted.max())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), watched, variance)
    # Its noise is that of the variance, not of the mean.
    span = np.ptp(variance.values, axis=(-3, -2, -1))
    share = np.minimum(np.mean(variance.error, axis=(-3, -2, -1)) / span, 1)
    assert set(variance.flags) == {"samples", "noise"} and share.min() > 0
    np.testing.assert_allclose(variance.flags["noise"], share, rtol=1e-4)
    assert np.abs(variance.flags["noise"] - mean.flags["noise"]).min() > 0.01
    # Neither its row nor its neighbours change an image's draws.
    turned = call(IMAGES[::-1], seeds[::-1])[1][0]
    np.testing.assert_allclose(turned.values[::-1], mean.values, rtol=1e-5)


def test_it_goes_around_methods_on_features_and_keeps_their_flags():
    around = SmoothGrad(IntegratedGradients(steps=1), samples=2, level=0.0)
    net = pixel_net(lambda x: jnp.tanh(x.reshape(len(x), -1) @ W.T / 100))
    smooth, plain = pixel_maps(net, (around, around.method), IMAGES, words=2)
    np.testing.assert_allclose(smooth.values, plain.values, rtol=1e-5)
    gap = plain.flags["completeness_gap"]
    assert gap.max() > 0.05
    np.testing.assert_allclose(smooth.flags["completeness_gap"], gap, rtol=1e-5)
    flags = {"completeness_gap": [0.3], "noise": [0.9]}
    add_up, noise = around.notes(flags, ("dog",))
    assert "do not add up" in add_up and "samples=2" in noise
    # The variance of maps has nothing to add up to.
    (own,) = VarGrad(around.method, samples=2).notes({"noise": [0.9]}, ("dog",))
    assert "samples=2" in own


def test_its_method_is_an_option_by_name():
    (one,) = choose("smoothgrad@method=ig+steps=3@samples=7")
    assert one.method == SmoothGrad(IntegratedGradients(steps=3), samples=7)
    assert one.labels == {"smoothgrad": "smoothgrad@method=ig+steps=3@samples=7"}
    assert choose(one.labels["smoothgrad"]) == (one,)
    with pytest.raises(ValueError, match="unknown method 'nothing'"):
        choose("smoothgrad@method=nothing")
    assert SmoothGrad(LIME(segments=50)).superpixels == 50 and not VarGrad().superpixels
    with pytest.raises(ValueError, match="got samples=1; expected 2 or more"):
        SmoothGrad(samples=1)
    with pytest.raises(ValueError, match="got level=-1; expected 0 or more"):
        SmoothGrad(level=-1)


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("attention", "attention shows what was read, and explains no score; choose another"),
        ("rise", "explains the measure 'log_prob', and rise explains 'prob'; choose another"),
        ("scorecam", "explains the measure 'log_prob', and scorecam explains 'prob'"),
        ("lrp", "explains the measure 'log_prob', and lrp explains 'logit'"),
        ("caption_guided", "caption_guided cannot tell a word from another; choose another"),
        (
            "caption_guided_kl",
            "of one answer, and caption_guided answers with caption_guided, capt",
        ),
        ("vargrad", "goes around a method that draws no noisy copies itself, and got vargrad"),
    ],
)
def test_it_refuses_methods_that_it_would_ask_something_else(inner, text):
    for name in ("smoothgrad", "vargrad"):
        with pytest.raises(ValueError, match=text):
            choose(f"{name}@method={inner}")
