"""Concepts: patches, clusters, vectors and tests by closed forms; a planted one is recovered."""

import dataclasses
import functools
import json

import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import Captioner
from capjax.explainers.batch import check_methods
from capjax.explainers.choosing import labels
from capjax.explainers.programs import make_request
from capjax.explainers.targets import Questions
from capjax.explainers.wording import Wording
from capjax.studies.concepts import ConceptMaps, ConceptSet, ConceptSettings, fit_concepts
from capjax.studies.concepts.activations import keyword_gradients, mean_activations
from capjax.studies.concepts.clusters import clusters_of, common
from capjax.studies.concepts.patches import GREY, cuts, patch, unique_segments
from capjax.studies.concepts.random_patches import Pool, RandomPatches, random_sets
from capjax.studies.concepts.vectors import (
    concept_vectors,
    for_many,
    paired_t,
    significance,
    t_test,
    tcav,
)
from tests.explainers.toys import TEXT, asking, attentive

pytest.importorskip("sklearn")
pytest.importorskip("skimage")


def test_segments_like_coarser_ones_are_dropped_and_the_last_label_is_not():
    coarse = np.repeat([0, 1], 8)[None].repeat(4, axis=0)  # [4 16]
    halves = np.repeat([0, 1, 2, 3], 4)[None].repeat(4, axis=0)  # Jaccard exactly .5: kept
    nearly = np.repeat([0, 1, 2], [9, 6, 1])[None].repeat(4, axis=0)  # 8/9, 6/8, and a new one
    found = unique_segments(np.stack([coarse, halves, nearly]), smallest=0.001, overlap=0.5)
    names = [(one.resolution, one.label) for one in found]
    assert names == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3), (2, 2)]
    small = unique_segments(np.stack([coarse, nearly]), smallest=0.07, overlap=0.5)
    assert (1, 2) not in [(one.resolution, one.label) for one in small]


def test_a_patch_is_the_tight_box_on_grey():
    picture = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    everything = np.ones((4, 4), bool)
    np.testing.assert_array_equal(patch(picture, everything), picture)
    corner = np.zeros((4, 4), bool)
    corner[3, 3] = True  # the last row and column count
    np.testing.assert_array_equal(patch(picture, corner), np.broadcast_to(picture[3, 3], (4, 4, 3)))
    diagonal = np.eye(4, dtype=bool)
    np.testing.assert_array_equal(patch(picture, diagonal)[0, 3], [GREY] * 3)


@pytest.mark.parametrize(
    ("members", "pictures", "discovery", "is_common"),
    [
        (40, 21, 1000, True),  # more than half as many pictures as members
        (40, 20, 1000, False),
        (40, 11, 40, True),  # more than a quarter of both
        (40, 10, 40, False),
        (40, 11, 44, False),
        (100, 21, 41, True),  # more than a tenth of the members, and half of the pictures
        (100, 20, 40, False),
        (210, 21, 41, False),
    ],
)
def test_the_three_conditions(members, pictures, discovery, is_common):
    assert common(members, pictures, discovery) == is_common


def test_blobs_are_told_apart_without_an_error():
    draw = np.random.default_rng(0)
    blob = draw.normal(0, 0.1, (30, 6)).astype(np.float32)
    found = concept_vectors(blob + [3, 0, 0, 0, 0, 0], [blob + [0, 3, 0, 0, 0, 0]] * 3, alpha=0.01)
    assert found.accuracy.tolist() == [1.0] * 3
    direction = np.array([1, -1, 0, 0, 0, 0]) / np.sqrt(2)
    assert found.mean @ direction > 0.95


def test_tcav_of_a_linear_score():
    draw = np.random.default_rng(0)
    v = draw.normal(size=8)
    assert tcav(np.tile(v, (5, 1)), np.stack([v, -v])).tolist() == [1.0, 0.0]
    noise = draw.normal(size=(4000, 8))
    noise -= np.outer(noise @ v, v) / (v @ v)  # no part along v; what is left is of another axis
    other = draw.normal(size=8)
    assert abs(tcav(noise, other[None])[0] - 0.5) < 0.03


def test_t_against_tables():
    assert t_test(2.861, 1.0, 19) == pytest.approx(0.01, abs=2e-5)
    difference = np.subtract([0.9, 0.8, 0.95, 0.85], [0.5, 0.6, 0.45, 0.55])
    assert paired_t(difference) == pytest.approx(t_test(5.422177, 1.0, 3), rel=1e-5)
    assert paired_t(np.zeros(4)) == 1.0 and paired_t(np.full(4, 0.5)) == 0.0


def sets(draw, pool, count, crowding, size=40):
    """Means of random sets: pictures in a random order, `crowding` patches of each; see `Pool`."""
    pictures = np.argsort(draw.random((count, pool.shape[0])))[:, : size // crowding]
    inside = np.argsort(draw.random((*pictures.shape, pool.shape[1])))[..., :crowding]
    return pool[pictures[..., None], inside].reshape(count, size, -1).mean(axis=1)


def simulated(seed, shift=0.0):
    """Tests of a random concept, or of one that goes along the slope by `shift`, in 32 channels.

    Patches of one picture are alike (a fifth of their variance), a concept has two of each, and the
    slopes of 40 pictures have something in common. Vectors are differences of means, for speed.
    """
    draw = np.random.default_rng(seed)

    def patches(pictures, each):
        whole = draw.normal(0, 0.2**0.5, (pictures, 1, 32))
        return whole + draw.normal(0, 0.8**0.5, (pictures, each, 32))

    common = draw.normal(size=32)
    gradients = draw.normal(size=(40, 32)) + 0.5 * common
    pool = patches(160, 5)
    concept = patches(20, 2).mean(axis=(0, 1)) + shift * common / np.linalg.norm(common)
    counterparts = sets(draw, pool, 20, 1) @ gradients.T
    random = np.concatenate([sets(draw, pool, 199, 2), concept[None]]) @ gradients.T
    scores = np.mean(random[:, None] > counterparts, axis=-1)
    return significance(scores[-1], scores[:-1])


def test_random_concepts_are_not_significant_and_a_planted_one_is():
    random = [simulated(seed) for seed in range(200)]
    assert np.mean([one.placed <= 0.05 for one in random]) <= 0.08  # .05, and three standard errors
    assert np.mean([one.paired <= 0.01 for one in random]) > 0.3  # why there is a second test
    planted = [simulated(seed, shift=1.0) for seed in range(50)]
    assert np.mean([max(one.placed, one.paired) <= 0.05 for one in planted]) >= 0.9


def test_p_counts_random_concepts_that_lie_as_far_out():
    random = np.tile(np.linspace(0, 1, 99)[:, None], 4)
    alike = {0.0: 2 * 2 / 100, 0.02: 2 * 3 / 100, 0.5: 1.0, 0.98: 2 * 3 / 100, 1.1: 2 / 100}
    for score, p in alike.items():
        assert significance(np.full(4, score), random).placed == pytest.approx(p)


def test_p_of_many_concepts():
    """Benjamini and Hochberg: m / k times the k-th smallest of m, at most those of larger ones."""
    assert for_many([0.01, 0.9, 0.02, 0.04]) == pytest.approx([0.04, 0.9, 0.04, 0.16 / 3])
    assert for_many([]) == []


def test_random_sets_are_as_crowded_as_they_are_asked_to_be():
    pictures = np.repeat(np.arange(12), [5, 1, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5])
    pool = Pool(np.arange(len(pictures), dtype=np.float32)[:, None], pictures)
    for crowding in (1, 2, 5):
        for own in random_sets(pool, count=20, size=10, crowding=crowding, seed=0):
            rows = own[:, 0].astype(int)
            counts = np.unique(pictures[rows], return_counts=True)[1]
            assert len(set(rows)) == 10 and counts.max() == crowding
            assert np.sum(counts < crowding) <= 2  # the picture of one patch, and the last one
    with pytest.raises(ValueError, match="56 patches .* for sets of 60"):
        random_sets(pool, count=1, size=60, crowding=1, seed=0)


@functools.cache
def planted() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Red squares on dark grounds, and pictures of other squares."""
    kinds = {"red": (230, 30, 30), "blue": (30, 30, 230)}
    pictures: dict[str, dict[str, np.ndarray]] = {}
    for kind, colour in kinds.items():
        draw = np.random.default_rng(len(kind))
        own = {}
        for number in range(8):
            picture = draw.integers(70, 90, (64, 64, 3)).astype(np.uint8)
            for top in (4, 36):
                left = int(draw.integers(2, 40))
                picture[top : top + 22, left : left + 22] = colour
            own[f"{kind}{number}.png"] = picture
        pictures[kind] = own
    return pictures["red"], pictures["blue"]


def sentences(names, text="a red ball"):
    asked = Questions.of(TEXT, keywords=["red"])
    return {name: Wording.of_query(attentive(), text).asked(asked) for name in names}


SETTINGS = ConceptSettings(
    stage="stage2", segments=(4, 8), clusters=3, least=4, most=8, counterparts=4, random_concepts=9
)


@functools.cache
def fitted() -> ConceptSet:
    red, blue = planted()
    made = {"model": attentive().hash}
    load = {**red, **blue}.__getitem__
    return fit_concepts(
        attentive(), "red", sentences(red), list(blue), load, SETTINGS, at_once=16, made_from=made
    )


def test_a_planted_concept_is_recovered():
    """Patches that are mostly square, by the colour of their pixels, make one pure cluster."""
    red, _ = planted()
    pieces, planted_here, sources = [], [], []
    for number, picture in enumerate(red.values()):
        labels = cuts(picture, (4, 8))
        for one in unique_segments(labels, smallest=0.001, overlap=0.5):
            mask = labels[one.resolution] == one.label
            pieces.append(patch(picture, mask))
            planted_here.append(np.mean(picture[mask][:, 0] > 150) > 0.5)
            sources.append(number)
    activations = mean_activations(attentive(), pieces, stage="stage0", at_once=16)
    truth = np.array(planted_here)
    assert truth.mean() < 0.7  # a cluster of any patches would not be pure
    found = clusters_of(activations, np.array(sources), count=3, least=4, most=40)
    assert max(truth[one.members].mean() for one in found) > 0.9


def test_a_batch_is_its_pictures_one_by_one():
    red, _ = planted()
    pictures = list(red.values())[:3]
    own = list(sentences(red).values())[:3]
    for call, extra in ((mean_activations, ()), (keyword_gradients, (own,))):
        whole = call(attentive(), pictures, *extra, stage="stage1", at_once=16)
        each = [
            call(
                attentive(),
                [one],
                *(part[at : at + 1] for part in extra),
                stage="stage1",
                at_once=16,
            )
            for at, one in enumerate(pictures)
        ]
        np.testing.assert_allclose(whole, np.concatenate(each), rtol=1e-4, atol=1e-5)


def test_a_saved_concept_gives_the_maps_of_the_one_that_was_fitted(tmp_path):
    found = fitted()
    assert found.concepts and len(found.random) == SETTINGS.random_concepts
    path = tmp_path / "red.concepts"
    found.save(path)
    again = ConceptSet.read(path)
    assert [one.p for one in again.concepts] == [one.p for one in found.concepts]
    mask = found.concepts[0].examples[0].mask
    np.testing.assert_array_equal(again.concepts[0].examples[0].mask, mask)
    # On eight toy pictures nothing need be significant: what is compared are the maps of all.
    both = [
        ConceptSet(one.word, one.stage, one.concepts, 1.0, one.random, one.made_from)
        for one in (found, again)
    ]
    methods = [ConceptMaps.of(attentive(), [one], number=1) for one in both]
    assert methods[0] == methods[1] and hash(methods[0]) == hash(methods[1])
    captioner = attentive()
    net = methods[0].prepare(captioner.net)
    red, _ = planted()
    images = np.stack(list(red.values())[:2])
    features = net.apply(captioner.variables, images, method="encode")
    tokens = jnp.asarray([TEXT.encode("a red ball")] * 2)
    weights = jnp.broadcast_to(jnp.eye(tokens.shape[1])[None], (2, *(tokens.shape[1],) * 2))
    lengths = jnp.full(2, tokens.shape[1])
    maps = asking(methods[1], "concept_1")(
        net, captioner.variables, features, tokens, lengths, weights
    )
    stage = features.stages["stage2"]
    expected = np.einsum("bfhwd,d->bfhw", stage, found.concepts[0].vector).reshape(2, 1, -1)
    np.testing.assert_allclose(maps[:, 1], expected, rtol=1e-4, atol=1e-4)
    assert not np.any(maps[:, [0, 2]])  # other words
    masked = dataclasses.replace(
        methods[1], masked=True, vectors=methods[1]._vectors, forms=methods[1]._forms
    )
    asked = (value[:, None] for value in (tokens, lengths, weights))
    request = make_request(net, captioner.variables, features, *asked, images=jnp.asarray(images))
    kept = masked(net, captioner.variables, request)["concept_1"].values[:, 0]
    kept = np.asarray(kept).reshape(maps.shape)
    assert np.all((kept == 0) | np.isclose(kept, maps, rtol=1e-4, atol=1e-4))
    assert np.any(kept[:, 1]) and np.any(kept[:, 1] == 0) and not np.any(kept[:, [0, 2]])
    with pytest.raises(ValueError, match="directions in the model"):
        own = attentive(1)
        ConceptMaps.of(Captioner(own.net, own.variables, TEXT, own.preprocessing), [found])


def test_a_picture_that_several_words_draw_on_is_seen_once():
    _, blue = planted()
    read = []

    def load(name):
        read.append(name)
        return blue[name]

    settings = dataclasses.replace(SETTINGS, others=4)
    random = RandomPatches(attentive(), load, settings, at_once=16)
    first = random.of(list(blue))
    again = random.of(list(blue)[:-1])
    assert len(read) == len(set(read)) <= 5 and set(first.pictures) == {0, 1, 2, 3}
    alone = RandomPatches(attentive(), load, settings, at_once=16).of(list(blue)[:-1])
    np.testing.assert_allclose(again.activations, alone.activations, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_fitted_is_refused():
    red, blue = planted()
    with pytest.raises(ValueError, match="no stage 'layer9'.* stage0, stage1, stage2"):
        fit_concepts(attentive(), "red", {}, [], red.__getitem__, ConceptSettings(stage="layer9"))
    with pytest.raises(ValueError, match="8 pictures say 'red'; finding its concepts needs 10"):
        fit_concepts(attentive(), "red", sentences(red), list(blue), red.__getitem__)


def test_maps_go_where_methods_go():
    """As `explain` and `evaluate` choose methods: labels apart, settings that JSON gives back."""
    found = fitted()
    every = dataclasses.replace(found, significance=1.0)
    own = [ConceptMaps.of(attentive(), [every], number=number) for number in (0, 1)]
    chosen = check_methods(attentive(), [*own, "gradcam"])
    settings = labels(chosen)
    assert list(settings) == ["concepts", "concept_1", "gradcam"]
    assert json.loads(json.dumps(settings)) == settings
    assert settings["concepts"]["words"] == "red" and settings["concepts"]["digest"]
