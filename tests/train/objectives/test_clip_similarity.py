"""The distance in CLIP's space: what CLIP reads, and the gradient that reaches the words."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax.captioner import CaptionNet, load_captioner
from capjax.config import experiment as settings
from capjax.data.batches.pipeline import CaptionSamples
from capjax.decoders import LSTM
from capjax.encoders import ConvNet
from capjax.experiment import run_experiment
from capjax.experiment.clip_loss import load_clip_loss
from capjax.text.ptb_lite import tokenize
from capjax.text.vocabulary import Vocabulary
from capjax.train import sharding
from capjax.train.checkpoint import Checkpoints, Progress
from capjax.train.objectives.clip_similarity import ClipSimilarity, WordPieces
from capjax.train.objectives.losses import LossConfig
from capjax.train.state import CLIP, create_state
from capjax.train.step import compile_step, make_train_step
from tests.text.byte_pairs import small_byte_pair
from tests.text.small_clip import small_clip
from tests.train.test_stages import records, small
from tests.train.test_step_options import close, features_batch, net
from tests.train.tiny import write_dataset
from tests.train.toy import BATCH, VOCABULARY, data_mesh, make_batch

pytest.importorskip("tokenizers")

SENTENCES = ["a red square", "there is a red square", "A green square, 12 there!", "is it red"]
WORDS = Vocabulary.build(SENTENCES)
UNKNOWN = WORDS.unk


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(folder):
    samples = CaptionSamples.build([SENTENCES], WORDS)
    return load_clip_loss(str(folder), WORDS, samples)


def padded(sentences, width=10, words=WORDS):
    ids = [words.encode(sentence) for sentence in sentences]
    tokens = np.full((len(ids), width), words.pad, np.int32)
    for row, own in enumerate(ids):
        tokens[row, : len(own)] = own
    return tokens, np.array([len(own) for own in ids], np.int32)


@functools.cache
def embedding(loss, **options):
    return jax.jit(functools.partial(loss.embed, **options))


def mask_of(tokens, lengths):
    return jnp.arange(tokens.shape[1])[None] < lengths[:, None]


def read_by_clip(clip, folder, texts):
    """Embeddings of texts that CLIP's own tokenizer has split, one at a time."""
    from capjax.weights import load_text_encoder

    encoder = load_text_encoder(folder, normalise=False)
    return np.stack([encoder.encode([text])[0] for text in texts])


def test_captions_are_read_as_their_text(clip, folder):
    tokens, lengths = padded(SENTENCES)
    found = embedding(clip.loss)(clip.arrays, tokens, mask_of(tokens, lengths))
    texts = [" ".join(tokenize(sentence)) for sentence in SENTENCES]
    assert max(clip.arrays["pieces"].counts) > 3  # words of one piece would prove little
    np.testing.assert_allclose(found, read_by_clip(clip, folder, texts), atol=2e-5)


def test_words_that_are_never_written_are_left_out(clip, folder):
    ids = [WORDS.encode("red")[0], UNKNOWN, WORDS.bos, WORDS.encode("square")[0], WORDS.eos]
    tokens = np.array([[*ids, WORDS.encode("is")[0]]], np.int32)
    mask = np.arange(6)[None] < 5
    found = embedding(clip.loss)(clip.arrays, tokens, mask)
    np.testing.assert_allclose(found, read_by_clip(clip, folder, ["red square"]), atol=2e-5)


def test_a_long_caption_is_cut_and_keeps_its_end(clip, folder):
    tokens, lengths = padded(["there red", "a red"])
    short = dataclasses.replace(clip.loss, room=4)
    found = embedding(short)(clip.arrays, tokens, mask_of(tokens, lengths))
    # t h e re: the four pieces there is room for.
    encoder_ids = np.array([[short.start, *clip.arrays["pieces"].pieces[tokens[0, 0], :4]]])
    whole = np.concatenate([encoder_ids, [[short.end]]], axis=1).astype(np.int32)
    expected = short.net.apply(clip.arrays["variables"], whole).embedding
    np.testing.assert_allclose(found[:1], expected, atol=2e-5)
    np.testing.assert_allclose(found[1:], read_by_clip(clip, folder, ["a red"]), atol=2e-5)


def test_reading_is_hard_and_certainty_is_both(clip):
    tokens, lengths = padded(SENTENCES)
    mask = mask_of(tokens, lengths)
    hard = embedding(clip.loss)(clip.arrays, tokens, mask)
    any_probabilities = jax.nn.softmax(jax.random.normal(jax.random.key(0), (4, 10, WORDS.size)))
    read = embedding(clip.loss)(clip.arrays, tokens, mask, any_probabilities)
    np.testing.assert_allclose(read, hard, atol=1e-5)
    softly = embedding(clip.loss, straight_through=False)
    soft = softly(clip.arrays, tokens, mask, any_probabilities)
    assert np.abs(soft - hard).max() > 1e-2
    certain = jax.nn.one_hot(tokens, WORDS.size)
    found = softly(clip.arrays, tokens, mask, certain)
    np.testing.assert_allclose(found, hard, atol=1e-5)


@pytest.fixture
def wide(clip):
    """The same in float64."""
    with jax.enable_x64(True):
        variables = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), clip.arrays["variables"]
        )
        net64 = clip.loss.net.clone(dtype=jnp.float64)
        yield dataclasses.replace(clip.loss, net=net64), {**clip.arrays, "variables": variables}


def test_the_soft_gradient_is_that_of_finite_differences(wide):
    loss, arrays = wide
    tokens, lengths = padded(SENTENCES[:2], width=7)
    mask = mask_of(tokens, lengths)
    random = np.random.default_rng(0)
    target = random.normal(size=(2, 20))

    def distance(logits):
        probabilities = jax.nn.softmax(logits, axis=-1)
        found = loss.embed(arrays, tokens, mask, probabilities, straight_through=False)
        return jnp.mean((found - target) ** 2)

    logits = random.normal(size=(2, 7, WORDS.size)) * 2
    gradient = jax.jit(jax.grad(distance))(logits)
    value = jax.jit(distance)
    for _ in range(6):
        direction = random.normal(size=logits.shape)
        step = 1e-5
        slope = (value(logits + step * direction) - value(logits - step * direction)) / (2 * step)
        assert float(jnp.sum(gradient * direction)) == pytest.approx(float(slope), rel=1e-6)
    assert np.abs(gradient[0, lengths[0] - 1 :]).max() == 0  # the end token and padding
    assert (np.abs(gradient[0, : lengths[0] - 1]).max(axis=-1) > 0).all()


def test_the_straight_through_gradient_is_the_rows_by_the_mixtures(wide):
    """By hand: the slope of each piece that CLIP reads, times what each word would put there."""
    loss, arrays = wide
    tokens, lengths = padded(["there square is"], width=4)
    mask = mask_of(tokens, lengths)
    random = np.random.default_rng(1)
    probabilities = jax.nn.softmax(random.normal(size=(1, 4, WORDS.size)))
    weights = random.normal(size=20)
    found = jax.jit(jax.grad(lambda p: loss.embed(arrays, tokens, mask, p)[0] @ weights))(
        probabilities
    )

    pieces, counts = (np.asarray(arrays["pieces"].pieces), np.asarray(arrays["pieces"].counts))
    table = np.asarray(arrays["variables"]["params"]["token_embedding"])
    ids = [loss.start]
    for word in tokens[0, :3]:
        ids += pieces[word, : counts[word]].tolist()
    ids = np.array([[*ids, loss.end]])

    def of_rows(rows):
        return loss.net.apply(arrays["variables"], ids, embedded=rows).embedding[0] @ weights

    slopes = np.asarray(jax.jit(jax.grad(of_rows))(table[ids])[0])
    expected = np.zeros((4, WORDS.size))
    place = 1
    for position, word in enumerate(tokens[0, :3]):
        for number in range(counts[word]):
            for other in range(WORDS.size):
                if number < counts[other]:
                    expected[position, other] += slopes[place] @ table[pieces[other, number]]
            place += 1
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


class AddsUp(NamedTuple):
    """In place of a net: the sum of the embeddings, each times its place."""

    def apply(self, variables, ids, embedded=None):
        del variables
        places = jnp.arange(ids.shape[1], dtype=embedded.dtype)
        return self._Found(jnp.einsum("s,bsd->bd", places, embedded))

    class _Found(NamedTuple):
        embedding: jax.Array


def test_a_case_by_hand():
    """Words 1 = [x], 2 = [y, x] with embeddings x = 3, y = 5: "2 1" is read as y x x."""
    table = WordPieces(
        jnp.array([0, 1, 2]),
        jnp.array([[0, 0], [0, 0], [1, 0]]),
        (jnp.array([1, 2]), jnp.array([2])),
    )
    embeddings = jnp.array([[3.0], [5.0], [0.0], [0.0]])
    arrays = {"pieces": table, "variables": {"params": {"token_embedding": embeddings}}}
    loss = ClipSimilarity(AddsUp(), start=2, end=3, room=9)
    tokens, mask = jnp.array([[2, 1]]), jnp.ones((1, 2), bool)
    probabilities = jnp.array([[[0.1, 0.2, 0.7], [0.0, 0.6, 0.4]]])
    found = embedding(loss)(arrays, tokens, mask, probabilities)
    np.testing.assert_allclose(found, [[1 * 5 + 2 * 3 + 3 * 3]], rtol=1e-6)
    soft = embedding(loss, straight_through=False)(arrays, tokens, mask, probabilities)
    # Place 1: .2 x + .7 y; place 2, the second piece: .7 x; place 3: .6 x + .4 y.
    np.testing.assert_allclose(soft, [[1 * 4.1 + 2 * 2.1 + 3 * 3.8]], rtol=1e-6)
    gradient = jax.grad(lambda p: loss.embed(arrays, tokens, mask, p)[0, 0])(probabilities)
    expected = [[0, 1 * 3, 1 * 5 + 2 * 3], [0, 3 * 3, 3 * 5]]
    np.testing.assert_allclose(gradient[0], expected, rtol=1e-6)


def test_it_is_averaged_with_the_other_loss(clip):
    tokens, lengths = padded(SENTENCES)
    averaged = jax.jit(clip.loss.averaged)
    sure = 9.0 * jax.nn.one_hot(tokens, WORDS.size)
    total, metrics = averaged(4.0, clip.arrays, sure, tokens, lengths, weight=1.0)
    assert float(total) == pytest.approx(2.0, abs=1e-6)
    assert float(metrics["clip_distance"]) == pytest.approx(0.0, abs=1e-9)
    assert float(metrics["clip_similarity"]) == pytest.approx(1.0, abs=1e-5)
    others, _ = padded(SENTENCES[::-1])
    wrong = jax.nn.one_hot(others, WORDS.size)
    total, metrics = averaged(4.0, clip.arrays, wrong, tokens, lengths, weight=3.0)
    mask = mask_of(tokens, lengths)
    vectors = [embedding(clip.loss)(clip.arrays, each, mask) for each in (others, tokens)]
    distance = float(jnp.mean((vectors[0] - vectors[1]) ** 2))
    assert float(metrics["clip_distance"]) == pytest.approx(distance, rel=1e-4)
    assert float(total) == pytest.approx((4.0 + 3.0 * distance) / 4.0, rel=1e-4)
    assert float(metrics["loss"]) == pytest.approx(float(total))


LETTERS = Vocabulary(
    ("<pad>", "<start>", "<end>", "<unk>", "a", "red", "square", "re", "it", "x", "y")
)


@pytest.fixture(scope="module")
def toy(folder):
    """The same CLIP for the words of `toy`."""
    assert LETTERS.size == VOCABULARY
    samples = CaptionSamples.build([["a red square re it x y square"]], LETTERS)
    return load_clip_loss(str(folder), LETTERS, samples)


RATE = 0.3


def attention():
    return net()


def lstm():
    decoder = LSTM(VOCABULARY, 8, hidden=6, embedding=5)
    return CaptionNet(ConvNet(widths=(8,), residuals=(0,)), decoder, (127.5,) * 3, (127.5,) * 3)


@functools.cache
def compiled(make, loss, devices, **options):
    """(net, mesh, update) of a loss of which most is the distance."""
    mesh = data_mesh(devices)
    step = make_train_step(
        make(),
        optax.sgd(RATE),
        LossConfig(clip_text="small", lambda_clip=1e3, doubly_stochastic=0.0),
        schedule=optax.constant_schedule(RATE),
        grid=(2, 3),
        similarity=loss,
        **options,
    )
    return make(), mesh, compile_step(step, mesh)


def initial_state(model, toy):
    batch = make_batch(0)
    variables = jax.jit(model.init)(jax.random.key(1), batch["image"], batch["tokens"])
    return create_state(
        variables, optax.sgd(RATE), train_encoder=False, key=jax.random.key(2), clip=toy.arrays
    )


def stepped(make, toy, *, devices=1, updates=1, **options):
    """State and metrics after each of some updates on one batch."""
    model, mesh, step = compiled(make, toy.loss, devices, **options)
    state = initial_state(model, toy)
    state = jax.device_put(jax.tree.map(jnp.copy, state), sharding.replicated(mesh))
    batch, figures = sharding.place_batch(features_batch(), mesh), []
    for _ in range(updates):
        state, metrics = step(state, batch)
        figures.append(metrics)
    return state, figures


@pytest.mark.devices
def test_on_many_devices_and_in_parts(clip):
    """What a batch gives is the mean of what its parts give, on one device and on eight."""
    tokens, lengths = padded(SENTENCES * 4)
    logits = jax.random.normal(jax.random.key(3), (*tokens.shape, WORDS.size))

    def loss(logits, arrays, tokens, lengths):
        return clip.loss.averaged(0.0, arrays, logits, tokens, lengths, weight=1.0)[0]

    gradient = jax.value_and_grad(loss)
    whole, slopes = jax.jit(gradient)(logits, clip.arrays, tokens, lengths)
    mesh = sharding.data_mesh()
    parts, one = sharding.split(mesh), sharding.replicated(mesh)
    sharded = jax.jit(gradient, in_shardings=(parts, one, parts, parts))
    same, alike = sharded(logits, clip.arrays, tokens, lengths)
    assert len(alike.sharding.device_set) == 8
    assert float(same) == pytest.approx(float(whole), rel=1e-5)
    np.testing.assert_allclose(alike, slopes, atol=1e-6)
    halves = [
        sharded(logits[start::2], clip.arrays, tokens[start::2], lengths[start::2])[0]
        for start in (0, 1)
    ]
    assert np.mean([float(value) for value in halves]) == pytest.approx(float(whole), rel=1e-5)


@pytest.mark.devices
@pytest.mark.slow
def test_parts_and_devices_make_the_same_update(toy):
    whole, (figures,) = stepped(attention, toy)
    split, (same,) = stepped(attention, toy, devices=BATCH // 2, accumulate=2)
    close(whole.params, split.params, atol=2e-6)
    for name in ("loss", "clip_distance", "clip_similarity"):
        assert float(figures[name]) == pytest.approx(float(same[name]), rel=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("make", [attention, lstm])
def test_updates_bring_captions_nearer(make, toy):
    """Not each one: a word changes all at once."""
    _, figures = stepped(make, toy, updates=100)
    distances = [float(each["clip_distance"]) for each in figures]
    assert np.mean(distances[-40:]) < 0.9 * distances[0]


def test_clip_is_no_part_of_the_captioner_nor_of_its_checkpoints(toy, tmp_path):
    state = initial_state(attention(), toy)
    assert set(state.variables["params"]) == {"encoder", "decoder"}
    checkpoints = Checkpoints(tmp_path, keep=1, frozen=state.frozen)
    checkpoints.save(state, Progress())
    checkpoints.close()
    saved = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    clip_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(toy.arrays))
    assert saved < clip_bytes
    other = jax.tree.map(lambda leaf: leaf + 1, state.frozen[CLIP])
    again = Checkpoints(tmp_path, keep=1, frozen={**state.frozen, CLIP: other})
    with pytest.raises(ValueError, match=r"other frozen weights .*CLIP"):
        again.restore(state)
    again.close()


def test_a_captioner_of_byte_pairs_is_refused(folder):
    samples = CaptionSamples.build([SENTENCES], WORDS)
    with pytest.raises(ValueError, match=r"clip_text needs .* writes words.*byte pairs"):
        load_clip_loss(str(folder), small_byte_pair(), samples)


def test_rewards_and_this_loss_exclude_each_other(folder, tmp_path):
    config = small(write_dataset(tmp_path), loss=LossConfig(clip_text=str(folder)))
    config.self_critical.samples = 2
    with pytest.raises(ValueError, match="trains on a reward alone"):
        settings.resolve(config)


@pytest.mark.slow
def test_a_run_learns_with_it_and_says_which(folder, tmp_path):
    root = write_dataset(tmp_path / "data")
    config = small(root, loss=LossConfig(clip_text=str(folder), doubly_stochastic=0.0))
    config.train.steps = 2
    run_experiment(config, tmp_path / "run")
    rows = records(tmp_path / "run")
    assert all({"clip_distance", "clip_similarity"} <= set(row) for row in rows)
    assert load_captioner(tmp_path / "run").card["loss.clip_text"] == folder.name
