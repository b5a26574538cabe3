"""Methods that take parts of a picture away: closed forms, enumerations, Captum, the contract."""

import importlib.util
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import Captioner
from capjax.decoding import Greedy
from capjax.explainers import LIME, RISE, LeaveOneOut, Occlusion, Shapley
from capjax.explainers.batch import check_methods, explain_batch
from capjax.explainers.perturbation import copies, rise
from capjax.explainers.perturbation.occlusion import Windows
from capjax.explainers.perturbation.superpixels import superpixels
from capjax.explainers.programs import make_request
from capjax.explainers.wording import Wording
from capjax.ops.image import resize
from capjax.types import Caption, Preprocessing
from tests.explainers.perturbation.toys import (
    NET,
    SEEN,
    TOKENS,
    answers,
    ask,
    ask_methods,
    behind,
    images,
)
from tests.explainers.toys import TEXT
from tests.golden import captum_methods as captum

needs_slic = pytest.mark.skipif(
    not importlib.util.find_spec("skimage"), reason="needs the extra `segments`"
)
COALITIONS = np.array(list(itertools.product((False, True), repeat=4)))
"""[16 4] of the cells of a grid of two down and two across."""


class AllOrders(Shapley):
    """Orders that, with their reverses, are all orders: 12 of four players, 360 of six."""

    NAME = "all"

    def order(self, request, index):
        count = self.segments or self.cells**2
        orders = [order for order in itertools.permutations(range(count)) if order[0] < order[-1]]
        return jnp.broadcast_to(jnp.array(orders)[index], (len(request.tokens), count))


METHODS = (
    Occlusion(window=3, stride=2, fill="zero"),
    RISE(masks=200, cells=2),
    RISE(masks=400, cells=2, stop=0.2),
    AllOrders(pairs=12, cells=2),
    Shapley(pairs=9, cells=2),
    Shapley(pairs=40, cells=2, stop=0.02),
    LIME(samples=150, cells=2),
    LIME(samples=400, cells=2, stop=0.1),
    LIME(samples=64, cells=4, width=0.005),
)


@pytest.fixture(scope="module")
def found():
    """What `METHODS` say of two pictures: log-probabilities, which no parts add up to."""
    return answers(METHODS, images(), (0, 1))


def pixels(coalitions):
    """[... 4 8] of coalitions [... 4]."""
    return np.kron(np.asarray(coalitions).reshape(*coalitions.shape[:-1], 2, 2), np.ones((2, 4)))


def drawn_of(method, numbers):
    """Its samples of both pictures by their numbers."""
    draw = jax.jit(lambda pictures, numbers: method.drawn(ask(pictures), numbers))
    return np.asarray(draw(images(), numbers))


def test_an_additive_score_is_shared_exactly():
    """Frame by frame; what the captioner does not see, the rightmost columns, gets nothing.

    Occlusion is the mean, over windows that cover a pixel, of their sums (G-21), Shapley values
    and the coefficients of LIME are sums of cells, and a position takes its distance from the
    others' mean with it.
    """
    pictures = images(2)
    methods = (METHODS[0], Shapley(pairs=2, cells=4), LIME(samples=64, cells=4), LeaveOneOut())
    occlusion, shapley, lime, lone = answers(methods, pictures, measure="logit")
    words = np.stack([pictures[0][..., [0, 2]], pictures[1][..., [1, 0]]])
    words = np.moveaxis(words, -1, 1)[:, None]  # [2 Q N F H W]
    parts = words * (np.arange(8) < SEEN) / (2 * 4 * SEEN)
    lost, count = np.zeros(parts.shape), np.zeros((4, 8))
    for row, column in itertools.product((0, 2), (0, 2, 4, 6)):
        window = np.s_[..., row : row + 3, column : column + 3]
        lost[window] += parts[window].sum(axis=(-1, -2), keepdims=True)
        count[window] += 1
    np.testing.assert_allclose(occlusion.values, lost / count, atol=1e-6)
    cells = parts.reshape(*parts.shape[:-2], 4, 1, 4, 2).sum(axis=(-1, -3))
    for maps in (shapley, lime):
        np.testing.assert_allclose(maps.values, cells, atol=2e-6)
        np.testing.assert_allclose(maps.error, 0, atol=2e-6)
        assert not np.asarray(maps.values)[..., 3].round(5).any()
    mean = words[..., :SEEN].mean(axis=(-1, -2, -3), keepdims=True)
    np.testing.assert_allclose(lone.values, (words[..., :SEEN] - mean) / 47, atol=1e-6)


def test_golden_occlusion_of_nine_pixels():
    """G-21."""
    windows = Windows((1, 3, 3), side=2, stride=1)
    covering = windows.covering(jnp.arange(windows.parts.number))[:, 0]
    lost = jnp.sum(covering * jnp.arange(1.0, 10).reshape(1, 3, 3), axis=(-1, -2))
    expected = [[12, 14, 16], [18, 20, 22], [24, 26, 28]]
    np.testing.assert_allclose(windows.means(lost)[0], expected, rtol=1e-6)


def test_golden_rise_of_four_cells():
    """G-19: all masks of four cells and an additive score."""
    masks = jnp.asarray(COALITIONS.reshape(1, 16, 1, 2, 2), jnp.float32)
    scores = jnp.asarray(COALITIONS @ np.array([0.1, 0.2, 0.3, 0.4]), jnp.float32)
    mean, spread, count = rise.weighted(
        scores.reshape(1, 16, 1, 1), masks / 0.5, jnp.ones(16, bool)
    )
    np.testing.assert_allclose(mean.ravel(), [0.55, 0.6, 0.65, 0.7], rtol=1e-6)
    products = np.asarray(scores)[:, None] * COALITIONS / 0.5
    np.testing.assert_allclose(spread.ravel(), 16 * products.var(axis=0), rtol=1e-5)
    assert count == 16


def test_rise_is_the_mean_over_all_masks_within_its_standard_error(found):
    """All grids of 2x2 at all shifts, resized by other code than the method's."""
    grids = resize(COALITIONS.reshape(-1, 2, 2, 1).astype(np.float32), (6, 12))[..., 0]
    cuts = [grids[:, y : y + 4, x : x + 8] for y in range(2) for x in range(4)]
    masks = np.asarray(jnp.concatenate(cuts), np.float64)
    pilot = drawn_of(METHODS[1], np.arange(200, 200 + rise.PILOT))
    for row in range(2):
        scores = behind(row, masks).T[..., None, None]  # [N M 1 1]
        values, error = (leaf[row, 0, :, 0] for leaf in (found[1].values, found[1].error))
        away = np.abs(values - (scores * masks / 0.5).mean(axis=1)) / error
        assert 0.3 < away.mean() < 1.5 and away.max() < 4
        centre = behind(row, pilot[row, :, 0]).mean(axis=0)[:, None, None, None]
        centred = (scores - centre) * masks / 0.5
        np.testing.assert_allclose(error, centred.std(axis=1) / math.sqrt(200), rtol=0.2)


def test_shapley_values_are_those_of_all_orders(found):
    exact = np.zeros((2, 2, 4))
    for row in range(2):
        worth = {own: behind(row, pixels(np.array(own))) for own in map(tuple, COALITIONS)}
        for order in itertools.permutations(range(4)):
            before = [False] * 4
            for player in order:
                after = [there or who == player for who, there in enumerate(before)]
                exact[row, :, player] += (worth[tuple(after)] - worth[tuple(before)]) / 24
                before = after
    whole, sampled = found[3], found[4]
    np.testing.assert_allclose(whole.values.reshape(2, 2, 4), exact, atol=2e-6)
    assert np.ptp(exact) > 0.1
    away = np.abs(sampled.values.reshape(2, 2, 4) - exact)
    assert 1e-5 < away.max() and np.all(away <= 3 * sampled.error.reshape(2, 2, 4) + 1e-6)
    sums = sampled.values.reshape(2, 2, 4).sum(axis=-1)
    np.testing.assert_allclose(sums, exact.sum(axis=-1), atol=2e-6)


def test_lime_is_weighted_least_squares(found):
    lime = METHODS[6]
    drawn = drawn_of(lime, np.arange(150))
    for row in range(2):
        values = behind(row, pixels(drawn[row]))
        kernel = np.sqrt(np.exp(-np.square(1 - np.sqrt(drawn[row].mean(axis=1))) / 0.25**2))
        columns = np.concatenate([np.ones((150, 1)), drawn[row]], axis=1)
        root = np.sqrt(kernel)[:, None]
        fitted, *_ = np.linalg.lstsq(root * columns, root * values, rcond=None)
        inverse = np.linalg.inv(columns.T @ (kernel[:, None] * columns))
        for word in range(2):
            maps = found[6].values[row, 0, word, 0].reshape(4)
            np.testing.assert_allclose(maps, fitted[1:, word], atol=1e-5)
            rest = kernel * (values[:, word] - columns @ fitted[:, word])
            meat = columns.T @ (np.square(rest)[:, None] * columns)
            error = np.sqrt(np.diag(inverse @ meat @ inverse) * 150 / 145)[1:]
            np.testing.assert_allclose(found[6].error[row, 0, word, 0].reshape(4), error, rtol=1e-3)


def test_lime_says_where_its_kernel_is_too_narrow_for_a_fit(found):
    """The weights of all samples are too small for float32, and one is far above the others."""
    lime, maps = METHODS[8], found[8]
    drawn = drawn_of(lime, np.arange(64))
    distances = 1 - np.sqrt(drawn.mean(axis=-1))
    assert np.all(np.square(distances / lime.width) / 2 > 104)
    shown = drawn.reshape(2, 64, 4, 4).repeat(2, axis=-1)
    for row in range(2):
        span = np.ptp(behind(row, shown[row]), axis=0)
        assert not np.asarray(maps.values[row]).any()
        errors = np.broadcast_to(span[:, None, None, None], (2, 1, 4, 4))
        np.testing.assert_allclose(maps.error[row, 0], errors, rtol=1e-5)
    np.testing.assert_array_equal(maps.flags["noise"], 1)
    (note,) = lime.notes({"noise": [1.0]}, ("dog",))
    assert "samples=64 and width=0.005 the maps of dog" in note


def test_a_target_takes_samples_until_they_are_enough(found):
    """At points that every target has in common: of RISE and LIME after every 64."""
    for index, most, stop in ((2, 400, 0.2), (5, 40, 0.02), (7, 400, 0.1)):
        flags = found[index].flags
        samples, noise = np.asarray(flags["samples"]), np.asarray(flags["noise"])
        assert samples.min() < most
        assert np.all((samples == most) | (noise <= stop))
        assert index == 5 or not (samples[samples < most] % 64).any()
        assert index == 7 or len(np.unique(samples)) > 1


def test_neighbours_change_nothing(found):
    """Nor does the row of a picture: the other way round."""
    swapped = answers(METHODS, images()[::-1], (1, 0))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(swapped), strict=True):
        np.testing.assert_allclose(one, other[::-1], atol=1e-6)


def test_parts_and_other_sentences_change_nothing(found, monkeypatch):
    """Four copies at once, and the other picture's sentence asked beside a picture's own."""
    monkeypatch.setattr(copies, "AT_ONCE", 4)
    request, chosen = ask(images()), (0, 2, 5, 7)
    names = ("forced", "tokens", "lengths", "weights")
    both = jax.tree.map(
        lambda leaf: jnp.concatenate([leaf, leaf[::-1]], axis=1),
        {name: getattr(request, name) for name in names},
    )

    @jax.jit
    def asked(request):
        return [METHODS[index](NET, {}, request)[METHODS[index].NAME] for index in chosen]

    for index, maps in zip(chosen, asked(request.replace(**both)), strict=True):
        for one, other in zip(jax.tree.leaves(found[index]), jax.tree.leaves(maps), strict=True):
            np.testing.assert_allclose(one, other[:, :1], atol=1e-5)


@pytest.fixture(scope="module")
def of_captum():
    """Our answers for the captioner that Captum has explained, and Captum's."""
    methods = {
        "occlusion": Occlusion(window=4, stride=2),
        "occlusion_uneven": Occlusion(window=6, stride=4),
        "positions": LeaveOneOut(instead="mean"),
        "shapley": AllOrders(pairs=360, segments=6),
    }
    net, variables, pictures = captum.net(), captum.variables(), jnp.asarray(captum.pixels())
    cells = np.kron(np.arange(6).reshape(captum.CELLS), np.ones((8, 8), np.int32))

    @jax.jit
    def call(variables, pictures):
        features = net.apply(variables, pictures, method="encode")
        request = make_request(
            *(net, variables, features, captum.TOKENS[:, None], captum.LENGTHS[:, None]),
            captum.words()[:, None],
            images=pictures,
            superpixels={6: jnp.asarray(np.stack([cells, cells]), jnp.int32)},
        )
        answers = {}
        for name, method in methods.items():
            maps = method(net, variables, request)[method.NAME]
            answers[name] = maps.values[:, 0, :, 0]
        return answers

    return call(variables, pictures), captum.expected()


@pytest.mark.parametrize("name", ["occlusion", "occlusion_uneven", "positions"])
def test_captum_loses_as_much(of_captum, name):
    found, expected = of_captum
    captum.close(found[name], expected[name])


def test_shapley_values_of_all_orders_are_those_of_captum(of_captum):
    """Cells of another grid, given as superpixels: every pixel has its player's value."""
    found, expected = of_captum[0]["shapley"], of_captum[1]["shapley"]
    captum.close(found, expected.repeat(8, axis=-2).repeat(8, axis=-1))


@needs_slic
def test_superpixels_follow_edges_and_are_few_enough():
    picture = np.zeros((1, 24, 32, 3), np.uint8)
    picture[:, :, 13:] = 255
    (labels,) = superpixels(picture, 6)
    assert labels.max() < 6 and np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert not set(np.unique(labels[:, :13])) & set(np.unique(labels[:, 13:]))


@needs_slic
def test_superpixels_reach_the_methods_that_ask():
    """Through the shells' door: both methods, each with a number of its own."""
    draw = np.random.default_rng(0)
    picture = draw.integers(0, 256, (1, 4, 4, 3)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    preprocessing = Preprocessing((32, 32), mean=NET.mean, std=NET.std)
    captioner = Captioner(NET, {}, TEXT, preprocessing)
    caption = Caption("a b", ("a", "b"), tuple(TOKENS[0]), np.zeros(2), 0.0, True)
    sentence = Wording(caption.tokens, caption.words, ((0, 1), (1, 2)))
    ((found,),) = explain_batch(
        *(captioner, picture, [(32, 32)]),
        methods=check_methods(captioner, ["lime@segments=4@samples=12", Shapley(2, segments=5)]),
        decoding=Greedy(),
        max_len=2,
        queries=[[sentence]],
        captions=[caption],
    )
    for label, number in (("lime@segments=4@samples=12", 4), ("shapley", 5)):
        labels, maps = superpixels(picture, number)[0], found.explanations[label].maps[:, 0]
        assert maps.shape == (2, 32, 32) and np.ptp(maps) > 0
        for player in range(labels.max() + 1):
            assert not np.ptp(maps[:, labels == player], axis=-1).any()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Occlusion(window=0), "got window=0; expected pixels"),
        (lambda: Occlusion(fill="red"), "got fill=red; choose one of: mean, zero, blur"),
        (lambda: RISE(masks=1), "got masks=1; expected 2 or more"),
        (lambda: RISE(shown=1.0), "got shown=1.0; expected a chance"),
        (lambda: RISE(stop=1.5), "got stop=1.5; expected a share"),
        (lambda: Shapley(pairs=1), "got pairs=1; expected 2 or more"),
        (lambda: Shapley(segments=1), "got segments=1; expected 2 superpixels"),
        (lambda: LIME(cells=0), "got cells=0; expected 1 or more"),
        (lambda: LIME(width=0.0), "got width=0.0; expected more than 0"),
        (lambda: LIME(width=math.nan), "got width=nan; expected more than 0"),
        (lambda: LeaveOneOut(instead="zero"), "got instead=zero; choose nothing or mean"),
    ],
)
def test_options_are_checked(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (Occlusion(window=2, stride=3), "got stride=3 with window=2; expected a stride of at most"),
        (LIME(samples=5, cells=2), "got samples=5 for 4 players; a fit needs more than 5"),
        (Shapley(segments=9), "shapley needs superpixels, and this request has none of segments=9"),
    ],
)
def test_what_a_picture_cannot_have_is_refused(method, text):
    with pytest.raises(ValueError, match=text):
        jax.eval_shape(lambda pictures: ask_methods((method,), pictures), images())


def test_without_images_another_method_is_named():
    request = ask(images()).replace(images=None)
    with pytest.raises(ValueError, match="rise reads the images.*leave_one_out"):
        RISE().start(None, None, request)
