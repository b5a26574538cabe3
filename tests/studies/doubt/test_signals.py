"""Signals against literal NumPy on a toy captioner, and a batch against single pictures."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.stats import spearmanr

from capjax.captioner import token_log_probs
from capjax.data.boxes.object_words import ObjectWords
from capjax.decoding.captions import see
from capjax.explainers.language.others import with_others
from capjax.studies.doubt.asking import doubted_captions, owed_bits
from capjax.studies.doubt.doubter import Doubter, Kept
from capjax.studies.doubt.maps import flatness, rank_correlation
from capjax.studies.doubt.signals import DOUBTFUL, read_signals
from capjax.types import Caption
from tests.explainers.toys import attentive

LONGEST = 8
WORDS = ObjectWords({("man",): ("person",), ("red", "wave"): ("wave",), ("dogs",): ("dog",)})
SENTENCES = ("a man on a red wave", "two dogs play")


@pytest.fixture(scope="module")
def read():
    """A captioner, pictures, two captions, and signals: of each of two pictures its own and the
    other one, in one call and in one with the pictures turned round."""
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    captioner = with_others(attentive(), pictures[2:])
    captions = []
    for text in SENTENCES:
        tokens = tuple(captioner.text.encode(text))
        words, _ = captioner.text.spans(tokens)
        captions.append(Caption(text, tuple(words), tokens, np.zeros(0), -1.5, True))

    def of(rows):
        images = pictures[rows]
        features = see(captioner.net, captioner.variables, images)
        own = [[captions[row], captions[1 - row]] for row in rows]
        return read_signals(
            captioner, images, features, own, WORDS, max_len=LONGEST, samples=4, signals=DOUBTFUL
        )

    return captioner, pictures, captions, of([0, 1]), of([1, 0])[::-1]


def test_captions_are_sampled_from_means_of_cells(read):
    """A map whose cells hold the mean of their block gives the same samples, and other words."""
    captioner, _, captions, _, _ = read
    pictures = np.random.default_rng(3).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    seen = see(captioner.net, captioner.variables, pictures)
    blocks = np.asarray(seen.positions).reshape(2, 8, 2, 8, 2, -1)
    means = np.broadcast_to(blocks.mean(axis=(2, 4), keepdims=True), blocks.shape)
    blurred = dataclasses.replace(seen, positions=means.reshape(seen.positions.shape))
    sharp, even = (
        read_signals(
            captioner,
            pictures,
            features,
            [[caption] for caption in captions],
            WORDS,
            max_len=LONGEST,
            samples=32,
            signals=("log_probability", "stability"),
        )
        for features in (seen, blurred)
    )
    for (one,), (other,) in zip(sharp, even, strict=True):
        np.testing.assert_array_equal(one.signals["stability"], other.signals["stability"])
        assert (one.signals["log_probability"] != other.signals["log_probability"]).all()
    assert any(0 < share < 1 for (one,) in sharp for share in one.signals["stability"])


def test_signals_are_those_of_the_formulas(read):
    captioner, pictures, captions, ((first, _), _), _ = read
    assert [(own.start, own.end) for own in first.names] == [(1, 2), (4, 6)]
    net, variables = captioner.net, captioner.variables
    tokens = np.array([captions[0].tokens])

    @jax.jit
    def literal(images):
        features = net.apply(variables, images, method="encode")
        hidden, attention = net.apply(variables, features, tokens, method="teacher_force")
        logits = net.apply(variables, hidden, method="readout")
        return attention, jax.nn.log_softmax(logits)

    attention, rows = jax.device_get(literal(pictures[:1]))
    rows = rows[0].astype(np.float64)
    said = rows[np.arange(len(tokens[0])), tokens[0]]
    entropies = -np.sum(np.exp(rows) * rows, axis=1)
    signals = first.signals
    np.testing.assert_allclose(signals["log_probability"], [said[1], said[4:6].sum()], rtol=1e-4)
    np.testing.assert_allclose(signals["entropy"], [entropies[1], entropies[4:6].mean()], rtol=1e-4)
    maps = attention[0].reshape(len(tokens[0]), -1)
    maps = np.stack([maps[1], maps[4:6].mean(axis=0)]).astype(np.float64)
    shares = maps / maps.sum(axis=1, keepdims=True)
    expected = -np.sum(shares * np.log(shares), axis=1) / np.log(64)
    np.testing.assert_allclose(signals["flatness"], expected, rtol=1e-4)
    others = jax.vmap(lambda one: token_log_probs(net, variables, one, tokens)[0])
    apart = jax.tree.map(lambda leaf: leaf[:, None], captioner.others)
    there = np.asarray(others(apart), np.float64)
    elsewhere = [there[:, 1], there[:, 4:6].sum(axis=1)]
    bits = [
        (own - np.log(np.mean(np.exp(other)))) / np.log(2)
        for own, other in zip([said[1], said[4:6].sum()], elsewhere, strict=True)
    ]
    np.testing.assert_allclose(signals["bits"], bits, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(signals["score"], [-1.5, -1.5])
    read_again = jax.jit(lambda features: token_log_probs(net, variables, features, tokens))
    for row, (start, end) in enumerate([(1, 2), (4, 6)]):
        seen = see(net, variables, pictures[:1])
        peak = maps[row] >= maps[row].max() / 2
        assert 0 < peak.sum() < peak.size
        hidden = np.where(peak[:, None], seen.positions.mean(axis=2), seen.positions[0, 0])
        moved = dataclasses.replace(seen, positions=hidden[None])
        left = read_again(moved)[0, start:end].sum()
        own = (said[start:end].sum() - left) / np.log(2)
        np.testing.assert_allclose(signals["peak"][row], own, rtol=1e-3, atol=1e-3)
    assert set(signals["stability"] * 4) <= {0.0, 1.0, 2.0, 3.0, 4.0}


def test_neighbours_change_nothing(read):
    _, _, _, batch, others = read
    assert [len(own) for own in batch] == [2, 2]
    for one, other in zip(sum(batch, []), sum(others, []), strict=True):
        assert one.names == other.names
        for name, values in one.signals.items():
            np.testing.assert_allclose(values, other.signals[name], rtol=1e-5, atol=1e-6)


def test_agreement_is_spearmans_and_flatness_that_of_a_uniform_map():
    draw = np.random.default_rng(0)
    one, other = np.round(draw.normal(size=(2, 3, 20)), 1).astype(np.float32)
    expected = [spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(rank_correlation(one, other), expected, atol=1e-5)
    assert rank_correlation(np.ones((1, 4)), one[:1, :4])[0] == 0
    maps = np.array([[1.0, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(flatness(maps), [1, 0, 1], atol=1e-6)


def test_captions_say_what_to_doubt(read):
    captioner, pictures, captions, both, _ = read
    found = [own for own, _ in both]
    truth = [np.array([False, True]), np.array([True])]
    kept = Kept(Doubter.fit(found, truth), captioner.hash, WORDS, 4, {"photographs": []}, [])
    features = see(captioner.net, captioner.variables, pictures[:2])
    doubted = doubted_captions(captioner, kept, pictures[:2], features, captions, max_len=LONGEST)
    assert [[own.word for own in one.doubts] for one in doubted] == [["man", "red wave"], ["dogs"]]
    for one, own in zip(doubted, found, strict=True):
        chances = [doubt.hallucinated for doubt in one.doubts]
        np.testing.assert_allclose(chances, kept.doubter(own), rtol=1e-5)
        assert all(doubt.reason for doubt in one.doubts)


def test_a_word_owes_what_it_loses_where_the_earlier_one_is_unknown(read):
    captioner, pictures, captions, both, _ = read
    features = see(captioner.net, captioner.variables, pictures[:2])
    (owed,) = owed_bits(captioner, pictures[:2], features, [own for own, _ in both], [0])
    tokens = np.array([captions[0].tokens] * 2)
    tokens[1, 1] = captioner.text.unk
    net, variables = captioner.net, captioner.variables
    first = jax.tree.map(lambda leaf: leaf[np.array([0, 0])], features)
    whole, without = jax.jit(lambda: token_log_probs(net, variables, first, tokens))()
    expected = (whole[4:6].sum() - without[4:6].sum()) / np.log(2)
    np.testing.assert_allclose(owed, [[0, 0], [expected, 0]], rtol=1e-3, atol=1e-3)
