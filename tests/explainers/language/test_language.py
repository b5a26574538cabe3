"""Bits of words that come from the image, and from the words before: closed forms and loops."""

import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from capjax.captioner import CaptionNet, token_log_probs
from capjax.data.pictures.images import UnreadableFileError
from capjax.decoders import GPT2, LSTM, S2VT, AttentionLSTM, TwoLayerS2VT
from capjax.decoders.cell import moved_words
from capjax.decoders.gpt2 import TINY
from capjax.encoders import ConvNet
from capjax.explainers.language.linguistic import earlier_alone
from capjax.explainers.language.others import PICTURES, chosen_others, coarse
from capjax.explainers.language.program import Language, about_sentence, ask_language
from capjax.explainers.language.visual_information import VisualInformation
from capjax.explainers.programs import Asked
from capjax.explainers.wording import Wording
from capjax.types import NO_TOKEN, Features
from tests import compiled
from tests.explainers.toys import TEXT, attentive

WORDS = 5


class Looking(nn.Module):
    """A "decoder" that looks after word 0 alone: at the first position, whose values are logits.

    After any other word its logits are a table's, whatever the image.
    """

    def table(self):
        return jax.random.normal(jax.random.key(3), (WORDS + 1, WORDS))

    def start(self, features: Features, length: int | None = None):
        return jnp.zeros(features.positions.shape[0]), features.positions[:, 0, 0]

    def step(self, carry, token, memory):
        by_table = self.table()[token]  # NO_TOKEN is its last row
        return carry, jnp.where((token == 0)[:, None], memory, by_table), None

    def readout(self, hidden):
        return hidden


def asked_of(features, tokens, lengths, spans):
    """One sentence an image, words of these spans."""
    tokens = np.asarray(tokens, np.int32)[:, None]
    weights = np.zeros((*tokens.shape[:2], len(spans), tokens.shape[2]), np.float32)
    for word, (start, end) in enumerate(spans):
        weights[:, :, word, start:end] = 1.0
    images = np.zeros((len(tokens), 1, 1, 3), np.uint8)
    seeds = np.zeros(len(tokens), np.uint32)
    return Asked(features, tokens, np.asarray(lengths)[:, None], weights, images, seeds)


def test_bits_of_words_that_look_and_of_words_that_do_not():
    """After word 0: softmax of the image, of its mean, of the others. Else: of a table, always."""
    draw = np.random.default_rng(0)
    seen, elsewhere = (draw.normal(size=(count, 2, 2, WORDS)).astype("f") for count in (3, 4))
    net = CaptionNet(ConvNet(), Looking(), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    tokens = np.array([[1, 0, 2, 3], [0, 4, 1, 0], [2, 0, 1, 9]])
    spans = ((0, 1), (1, 2), (2, 3), (3, 4), (1, 3))
    asked = asked_of(Features.from_grid(seen), tokens, [4, 4, 3], spans)
    others = Features.from_grid(elsewhere)
    found = ask_language(net, Language(), None, {}, others, asked, None)

    def after(values, before):  # [V] probabilities
        values = values if before == 0 else np.asarray(Looking().table())[before]
        return np.exp(values) / np.exp(values).sum()

    for row, (sentence, length) in enumerate(zip(tokens, (4, 4, 3), strict=True)):
        for word, (start, end) in enumerate(spans):
            span = range(start, min(end, length))
            pairs = [(sentence[at - 1] if at else NO_TOKEN, sentence[at]) for at in span]
            mean = seen[row].mean(axis=(0, 1))
            bare = np.prod([after(mean, before)[said] for before, said in pairs])
            there = [
                np.prod([after(one[0, 0], before)[said] for before, said in pairs])
                for one in elsewhere
            ]
            assert found.without_layout[row, 0, word] == pytest.approx(np.log(bare), abs=1e-5)
            assert found.others[row, 0, word] == pytest.approx(np.log(np.mean(there)), abs=1e-5)
    # Word 0 itself follows word 1: any image does.
    ignoring = np.log(after(None, 1)[0])
    visual = VisualInformation(ignoring, found.without_layout[0, 0, 1], found.others[0, 0, 1], 4)
    assert visual.bits == pytest.approx(0, abs=1e-5) and visual.layout == pytest.approx(0, abs=1e-5)


def test_sources_by_a_threshold_of_one_bit():
    bits = np.array([3.2, 1.0, 0.9, -0.4, -1.0, np.nan]) * math.log(2)
    found = VisualInformation(bits - 5, np.full(6, -4.0), np.full(6, -5.0), 16)
    expected = ("image", "image", "language", "language", "against", None)
    assert found.sources() == expected
    assert found.sources(threshold=2.0)[1:2] == ("language",)
    np.testing.assert_allclose(found.bits[:5], [3.2, 1.0, 0.9, -0.4, -1.0], atol=1e-6)
    np.testing.assert_allclose(found.layout[:5], [1.8, -0.4, -0.5, -1.8, -2.4], atol=0.05)
    for own in (found, dataclasses.replace(found, others=None, pictures=0)):
        again = VisualInformation.from_json(json.loads(json.dumps(own.to_json())))
        assert again.sources() == own.sources() and again.pictures == own.pictures
        np.testing.assert_allclose(again.layout, own.layout, atol=1e-5)
    assert own.bits is None and own.sources() == (None,) * 6


# "a man on a red wave": words of one token but for the fourth, which takes two.
SENTENCES = ["a man on a red wave", "two dogs play with a ball", "a man rides the red ball"]
SPANS = ((0, 1), (1, 2), (2, 3), (3, 5), (5, 6), (6, 7))
WAYS = ("leave_one_out", "gradient")


@pytest.fixture(scope="module")
def answered():
    """Of three images: the captioner, what was asked, what is found, and of the first one alone."""
    captioner = attentive()
    draw = np.random.default_rng(1)
    grid = draw.normal(size=(3, 3, 3, 24)).astype(np.float32)
    others = coarse(Features.from_grid(draw.normal(size=(6, 9, 10, 24)).astype(np.float32)))
    tokens = np.array([TEXT.encode(text) for text in SENTENCES], np.int32)
    asked = asked_of(Features.from_grid(jnp.asarray(grid)), tokens, [7, 7, 7], SPANS)
    ask = functools.partial(
        ask_language, captioner.net, Language(True, WAYS), TEXT.unk, captioner.variables, others
    )
    one = jax.tree.map(lambda leaf: leaf[1:2], asked)
    return captioner, others, asked, jax.device_get(ask(asked, None)), ask(one, None)


def test_leaving_a_word_out_is_reading_the_unknown_word_in_its_place(answered):
    captioner, _, asked, found, _ = answered
    net, variables = captioner.net, captioner.variables

    @jax.jit
    def read(before):  # [B T] tokens that are read, and those that are scored
        carry, memory = net.apply(variables, asked.features, method="start")
        log_probs = []
        for at in range(before.shape[1]):
            step = net.apply(variables, carry, before[:, at], memory, method="step")
            carry, hidden, _ = step
            logits = net.apply(variables, hidden, method="readout")
            log_probs.append(jax.nn.log_softmax(logits)[jnp.arange(3), asked.tokens[:, 0, at]])
        return jnp.stack(log_probs, axis=1)

    tokens = asked.tokens[:, 0]
    before = np.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=NO_TOKEN)
    whole = np.asarray(read(before))
    for column, (start, end) in enumerate(SPANS[:-1]):
        changed = before.copy()
        changed[:, start + 1 : end + 1] = TEXT.unk
        drop = whole - np.asarray(read(changed))
        for row in range(column + 1, len(SPANS)):
            expected = drop[:, slice(*SPANS[row])].sum(axis=1)
            got = found.effects["leave_one_out"][:, 0, row, column]
            np.testing.assert_allclose(got, expected, atol=2e-5)
            assert np.abs(expected).max() > 1e-3


def test_the_gradient_is_the_slope_of_a_stretched_embedding(answered):
    """Words that occur once: their row of the table, stretched by a little."""
    captioner, _, asked, found, _ = answered
    net, variables = captioner.net, captioner.variables
    tokens = asked.tokens[:, 0]

    @jax.jit
    def stretched(word, factor):
        decoder = dict(variables["params"]["decoder"])
        decoder["embedding"] = decoder["embedding"].at[word].multiply(factor)
        changed = {**variables, "params": {**variables["params"], "decoder": decoder}}
        return token_log_probs(net, changed, asked.features, tokens)

    size = 1e-2
    for row, column in ((0, 1), (1, 1), (2, 3)):  # man; dogs; the red
        span = slice(*SPANS[column])
        slope = sum(
            np.asarray(stretched(word, 1 + size) - stretched(word, 1 - size))[row] / (2 * size)
            for word in tokens[row, span]
        )
        for word in range(column + 1, len(SPANS)):
            got = found.effects["gradient"][row, 0, word, column]
            expected = slope[slice(*SPANS[word])].sum()
            assert got == pytest.approx(expected, abs=2e-3)


def test_neighbours_and_batches_change_nothing(answered):
    _, _, _, found, alone = answered
    for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(one[0], many[1], atol=1e-5)


def test_without_other_pictures_the_layout_alone(answered):
    captioner, others, asked, found, _ = answered
    bare = ask_language(captioner.net, Language(), TEXT.unk, captioner.variables, None, asked, None)
    assert bare.others is None and bare.effects == {}
    np.testing.assert_allclose(bare.without_layout, found.without_layout, atol=1e-5)
    sentence = Wording(tuple(asked.tokens[0, 0]), ("a", "man"), ((0, 1), (1, 1)))
    one = jax.tree.map(lambda leaf: leaf[0, 0], found)
    captioner = dataclasses.replace(captioner, others=others)
    visual, effects = about_sentence(one, sentence, np.full(7, -1.0, "f"), captioner)
    assert visual.pictures == 6 and visual.sources()[1] is None  # a word that was not read
    assert visual.others[0] == found.others[0, 0, 0] and effects["gradient"].shape == (2, 2)


def test_only_earlier_words_have_an_effect():
    spans = ((0, 1), (1, 1), (1, 2), (2, 4))
    found = earlier_alone(np.full((4, 4), math.log(2)), spans)
    np.testing.assert_allclose(found, [[0, 0, 0, 0], [0] * 4, [1, 0, 0, 0], [1, 0, 1, 0]])


FIELDS = {"vocab_size": 11, "features": 6}


@pytest.mark.parametrize(
    "decoder",
    [
        AttentionLSTM(**FIELDS, hidden=5, attention=4, embedding=3, start_input="token"),
        LSTM(**FIELDS, hidden=5, embedding=3),
        S2VT(**FIELDS, hidden=5, embedding=3),
        TwoLayerS2VT(**FIELDS, hidden=5, embedding=3, projection=3),
        GPT2(**FIELDS, **{**TINY, "width": 8, "mlp": 8, "layers": 1}, start_token=0),
    ],
    ids=lambda decoder: type(decoder).__name__,
)
def test_every_decoder_reads_moved_words(decoder):
    """Moved from one row of the table to another, a word is read as the other one."""
    positions = np.random.default_rng(0).normal(size=(2, 2, 2, 6)).astype(np.float32)
    features = Features.from_grid(positions)
    tokens, other = jnp.array([[1, 2, 3], [4, 5, 6]]), jnp.array([[1, 7, 3], [4, 5, 6]])
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), features, tokens)
    assert set(shapes) == {"params"}  # what is recorded is no weight
    draw = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: draw.normal(size=leaf.shape).astype("f"), shapes["params"])
    table = params["embedding"]
    zero = np.zeros((2, 3, table.shape[1]), np.float32)
    moved = zero.copy()
    moved[0, 2] = table[7] - table[2]

    def hidden(tokens, delta):
        decoder_alone = moved_words({}, delta)["moved_words"]["decoder"]
        variables = {"params": params, "moved_words": decoder_alone}
        return compiled.apply(decoder, variables, features, tokens)[0]

    expected = hidden(other, zero)
    np.testing.assert_allclose(hidden(tokens, moved), expected, atol=1e-5)
    assert np.abs(hidden(tokens, zero) - expected).max() > 1e-3


def test_a_decoder_that_tells_no_embeddings_is_refused():
    net = CaptionNet(ConvNet(), Silent(), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    asked = asked_of(Features.from_grid(np.zeros((1, 1, 1, WORDS), "f")), [[1, 2]], [2], SPANS[:2])
    with pytest.raises(ValueError, match="Silent does not tell what embeddings it reads"):
        ask_language(net, Language(False, ("gradient",)), None, {}, None, asked, None)
    with pytest.raises(ValueError, match="unknown way 'left' of linguistic attribution; choose"):
        Language(linguistic=("left",))


class Silent(nn.Module):
    """A "decoder" that reads no words."""

    def __call__(self, features, tokens, keys=None):
        return jnp.zeros((*tokens.shape, WORDS)), None

    def readout(self, hidden):
        return hidden


def test_kept_features_are_means_over_blocks_of_valid_cells():
    draw = np.random.default_rng(0)
    grid = draw.normal(size=(2, 9, 10, 3)).astype(np.float32)
    features = Features.from_grid(grid)
    valid = np.ones((2, 1, 90), bool)
    valid[0, 0, :11] = False
    kept = coarse(dataclasses.replace(features, valid=jnp.asarray(valid)))
    assert kept.grid == (5, 5) and kept.positions.shape == (2, 1, 25, 3)
    cells = kept.positions.reshape(2, 5, 5, 3)
    np.testing.assert_allclose(cells[1, 2, 3], grid[1, 4:6, 6:8].mean(axis=(0, 1)), atol=1e-3)
    np.testing.assert_allclose(cells[1, 4, 4], grid[1, 8, 8:10].mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(cells[0, 0, 0], grid[0, 1, 1], atol=1e-3)  # three are padding
    clip = features.as_clips(2)
    assert coarse(clip).positions.shape == (1, 2, 1, 3)
    small = Features.from_grid(grid[:, :8, :8])
    np.testing.assert_allclose(coarse(small).positions, small.positions, atol=2e-3)


def test_the_same_pictures_are_chosen_in_any_order_and_unreadable_ones_give_way():
    keys = [f"{number}.jpg" for number in range(40)]

    def load(number):
        return keys[number]

    first = chosen_others(keys, load)
    assert len(first) == PICTURES == len(set(first))
    keys.reverse()
    assert chosen_others(keys, load) == first

    def broken(number):
        if keys[number] == first[0]:
            raise UnreadableFileError("torn")
        return keys[number]

    assert chosen_others(keys, broken)[:-1] == first[1:]
    assert len(chosen_others(keys[:3], load)) == 3
