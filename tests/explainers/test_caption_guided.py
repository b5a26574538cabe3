"""Caption-guided saliency against a loop over everything, published toy numbers and invariants."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import CaptionNet
from capjax.decoders import GPT2, LSTM, S2VT, AttentionLSTM, TwoLayerS2VT, cell
from capjax.decoders.gpt2 import TINY
from capjax.encoders import ConvNet
from capjax.explainers import CaptionGuided
from capjax.explainers.word_losses import word_losses
from capjax.types import NO_TOKEN, Features
from tests.explainers.toys import asking
from tests.reference.golden_weights import golden

VOCABULARY, DEPTH = 13, 5
caption_guided = asking(CaptionGuided())
caption_guided_kl = asking(CaptionGuided(kl=True), "caption_guided_kl")
DECODERS = {
    "s2vt": functools.partial(S2VT, hidden=6, embedding=4),
    "s2vt_frames": functools.partial(S2VT, hidden=6, embedding=4, scan="frames"),
    "two_layer": functools.partial(TwoLayerS2VT, hidden=6, embedding=4, projection=3),
    "attention": functools.partial(AttentionLSTM, hidden=6, attention=4, embedding=4),
    "attention_frames": functools.partial(
        AttentionLSTM, hidden=6, attention=4, embedding=4, attend="frames", gate="vector"
    ),
    "lstm": functools.partial(LSTM, hidden=6, embedding=4),
    "lstm_every": functools.partial(LSTM, hidden=6, embedding=4, inject="every"),
    "gpt2": functools.partial(GPT2, **{**TINY, "width": 8}, start_token=12),
}


def captioner(decoder, dtype=jnp.float32, scale=0.7):
    module = DECODERS[decoder](VOCABULARY, DEPTH, dtype=dtype)
    return wrap(module, scale)


def wrap(module, scale=0.7):
    features, tokens = problem()
    shapes = jax.eval_shape(module.init, jax.random.key(0), features, tokens[:, 0])
    generator = np.random.default_rng(2)
    params = jax.tree.map(
        lambda s: jnp.asarray(scale * generator.normal(size=s.shape), jnp.float32),
        shapes["params"],
    )
    net = CaptionNet(ConvNet(), module, (0.0,) * 3, (1.0,) * 3)
    return net, {"params": {"decoder": params}}


def problem(batch=2, sentences=3, length=4, frames=2, grid=(2, 3)):
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(batch, frames, *grid, DEPTH))
    tokens = generator.integers(0, VOCABULARY, (batch, sentences, length))
    return Features.from_grid(jnp.asarray(maps, jnp.float32)), jnp.asarray(tokens, jnp.int32)


def triple_loop(net, variables, features, tokens):
    """Every item, sentence and word by itself, one step at a time, from the definition."""

    @jax.jit
    def logits(seen, words):
        carry, memory = net.apply(variables, seen, method="start")
        found, previous = [], jnp.array([NO_TOKEN], jnp.int32)
        for word in words:
            carry, hidden, _ = net.apply(variables, carry, previous, memory, method="step")
            found.append(net.apply(variables, hidden, method="readout")[0])
            previous = word[None]
        return jax.nn.log_softmax(jnp.stack(found))

    def distributions(seen, words):
        return np.asarray(logits(seen, words), np.float64)

    batch, frames, positions, _ = features.positions.shape
    loss = np.zeros((*tokens.shape, frames, positions))
    divergence = np.zeros_like(loss)
    for b in range(batch):
        image = jax.tree.map(lambda leaf, b=b: leaf[b : b + 1], features)
        for n in range(tokens.shape[1]):
            words = np.asarray(tokens[b, n])
            whole = distributions(image, words)
            for f in range(frames):
                for p in range(positions):
                    one = Features(
                        positions=image.positions[:, f : f + 1, p : p + 1],
                        extra=image.extra,
                        valid=image.valid[:, f : f + 1, p : p + 1],
                        grid=(1, 1),
                    )
                    alone = distributions(one, words)
                    loss[b, n, :, f, p] = -alone[np.arange(len(words)), words]
                    divergence[b, n, :, f, p] = (np.exp(whole) * (whole - alone)).sum(-1)
    return loss, divergence


WHOLE, GROUPS, SINGLES = None, 20_000, 1
# Every decoder, and every budget, which is of the loops around a decoder; not each with each.
BUDGETS = {
    "s2vt": (WHOLE, GROUPS, SINGLES),
    "s2vt_frames": (WHOLE,),
    "two_layer": (GROUPS,),
    "attention": (WHOLE, GROUPS),
    "attention_frames": (SINGLES,),
    "lstm": (GROUPS,),
    "lstm_every": (WHOLE,),
    "gpt2": (WHOLE, SINGLES),
}


@pytest.mark.parametrize(("decoder", "budgets"), BUDGETS.items(), ids=BUDGETS)
def test_is_the_triple_loop_whatever_the_budget(decoder, budgets):
    net, variables = captioner(decoder)
    features, tokens = problem()
    loss, divergence = triple_loop(net, variables, features, tokens)
    for budget in budgets:
        found = word_losses(net, variables, features, tokens, kl=True, budget=budget)
        np.testing.assert_allclose(found.loss, loss, atol=1e-5)
        np.testing.assert_allclose(found.kl, divergence, atol=1e-5)


def toy():
    """The toy model of the released code's variant; gates i, j, f, o there, i, f, o, j here."""

    def gates(packed):
        i, j, f, o = np.split(packed, 4, axis=-1)
        return np.concatenate([i, f, o, j], axis=-1)

    kernel, bias = gates(golden(24, 6, 8)), gates(golden(25, 8)) + np.repeat([0, 1, 0, 0], 2)
    params = {
        "feature_kernel": golden(22, 3, 2),
        "feature_bias": golden(23, 2),
        "lstm_features": kernel[:2],
        "lstm_embedding": kernel[2:4],
        "lstm_recurrent": kernel[4:],
        "lstm_bias": bias,
        "embedding": golden(26, 5, 2),
        "head_kernel": golden(27, 2, 5),
        "head_bias": golden(28, 5),
    }
    module = S2VT(5, 3, hidden=2, embedding=2, dtype=jnp.float64)
    net = CaptionNet(ConvNet(), module, (0.0,) * 3, (1.0,) * 3)
    features = Features.from_grid(jnp.asarray(golden(21, 4, 3)).reshape(1, 1, 4, 3))
    variables = {"params": {"decoder": jax.tree.map(jnp.asarray, params)}}
    return net, variables, features, jnp.array([[[2, 4, 1]]])


def test_published_toy_numbers():
    with jax.enable_x64(True):
        net, variables, features, tokens = toy()
        found = word_losses(net, variables, features, tokens, kl=True)
        weights = jnp.array([[[1.0, 1.0, 0.0]]])
        phrase = caption_guided(net, variables, features, tokens[:, 0], jnp.array([3]), weights)
        span = np.asarray(phrase[0, 0, 0])
    expected = [
        [-1.206906, -1.213171, -1.213274, -1.213374],
        [-2.184959, -2.187265, -2.186809, -2.186355],
        [-1.835531, -1.831324, -1.831348, -1.831373],
    ]
    np.testing.assert_allclose(-found.loss[0, 0, :, 0], expected, atol=1e-6)
    divergence = [
        [3.22e-4, 2.35e-4, 2.41e-4, 2.47e-4],
        [1.12e-4, 0.90e-4, 0.92e-4, 0.94e-4],
        [0.43e-4, 0.34e-4, 0.35e-4, 0.36e-4],
    ]
    np.testing.assert_allclose(found.kl[0, 0, :, 0], divergence, atol=6e-7)
    scaled = (span - span.min()) / (span.max() - span.min())
    np.testing.assert_allclose(scaled, [1, 0, 0.041256, 0.082525], atol=1e-4)
    # Zeros in the place of the other descriptors would be another method.
    padded = [-1.198392, -1.201186, -1.202350, -1.204016]
    assert np.abs(np.asarray(-found.loss[0, 0, 0, 0]) - padded).min() > 1e-3


def test_one_position_is_the_whole_and_divergence_is_never_negative():
    net, variables = captioner("s2vt")
    features, tokens = problem()
    found = word_losses(net, variables, features, tokens, kl=True)
    assert float(found.kl.min()) > -1e-5 and float(found.kl.max()) > 0.1
    single = word_losses(net, variables, features.only(1, 4), tokens, kl=True)
    np.testing.assert_allclose(single.kl, 0.0, atol=1e-5)
    np.testing.assert_allclose(single.loss[..., 0, 0], found.loss[..., 1, 4], atol=1e-5)


def test_columns_follow_their_descriptors_and_rows_look_only_back():
    net, variables = captioner("attention")
    features, tokens = problem()
    found = word_losses(net, variables, features, tokens)
    assert found.kl is None
    found = found.loss
    order = np.array([3, 3, 0, 5, 1, 2, 4])  # permuted, one twice
    moved = Features(
        positions=features.positions[:, :, order],
        extra=features.extra,
        valid=features.valid[:, :, order],
        grid=(1, 7),
    )
    np.testing.assert_allclose(
        word_losses(net, variables, moved, tokens).loss, found[..., order], atol=1e-5
    )
    longer = jnp.concatenate([tokens, tokens[..., :2]], axis=-1)
    np.testing.assert_allclose(
        word_losses(net, variables, features, longer).loss[:, :, :4], found, atol=1e-5
    )


def test_padding_has_no_loss_and_changes_none():
    net, variables = captioner("s2vt")
    features, tokens = problem()
    padded = features.replace(valid=features.valid.at[0, 1, 4:].set(False))
    found = word_losses(net, variables, padded, tokens).loss
    plain = word_losses(net, variables, features, tokens).loss
    assert np.isnan(found[0, :, :, 1, 4:]).all()
    kept = np.asarray(padded.valid)[:, None, None] & np.ones_like(found, bool)
    np.testing.assert_allclose(found[kept], plain[kept], atol=1e-6)


def test_targets_are_weighed_sums_before_any_scaling():
    net, variables = captioner("s2vt")
    features, tokens = problem()
    words, lengths = tokens[:, 0], jnp.array([4, 3])
    weights = np.zeros((2, 3, 4), np.float32)
    weights[:, 0, 1] = 1.0
    weights[:, 1, 1:3] = 1.0
    weights[:, 2] = 1.0
    losses = word_losses(net, variables, features, tokens[:, :1], kl=True)
    arguments = (net, variables, features, words, lengths, jnp.asarray(weights))
    maps, divergence = caption_guided(*arguments), caption_guided_kl(*arguments)
    for values, own in ((maps, losses.loss), (divergence, losses.kl)):
        np.testing.assert_allclose(values[:, 0], -own[:, 0, 1], atol=1e-5)
        np.testing.assert_allclose(values[:, 1], -own[:, 0, 1] - own[:, 0, 2], atol=1e-5)
        np.testing.assert_allclose(values[0, 2], -own[0, 0].sum(0), atol=1e-5)
        np.testing.assert_allclose(values[1, 2], -own[1, 0, :3].sum(0), atol=1e-5)


@pytest.mark.devices
@pytest.mark.parametrize("batch", [1, 4])
def test_eight_devices_give_the_numbers_of_one(batch):
    net, variables = captioner("s2vt")
    features, tokens = problem(batch=batch)
    mesh = jax.make_mesh((8,), ("data",))
    one = word_losses(net, variables, features, tokens, kl=True)
    eight = word_losses(net, variables, features, tokens, kl=True, mesh=mesh)
    np.testing.assert_allclose(eight.loss, one.loss, atol=1e-5)
    np.testing.assert_allclose(eight.kl, one.kl, atol=1e-5)


BUDGET = 8 * 2**20
AS_USERS_COMPILE = [pytest.mark.slow, pytest.mark.optimised]


@pytest.mark.parametrize(
    "decoder",
    [
        *("s2vt", "attention"),
        pytest.param("s2vt", marks=AS_USERS_COMPILE, id="s2vt_optimised"),
        pytest.param("attention", marks=AS_USERS_COMPILE, id="attention_optimised"),
    ],
)
def test_memory_stays_within_the_budget_whatever_the_sizes(decoder):
    build = {
        "s2vt": functools.partial(S2VT, hidden=64, embedding=16),
        "attention": functools.partial(AttentionLSTM, hidden=64, attention=16, embedding=48),
    }[decoder]
    net = CaptionNet(ConvNet(), build(5000, 32), (0.0,) * 3, (1.0,) * 3)
    temporary, operations = {}, {}
    for images, sentences, positions, length in (
        (1, 1, 64, 8),
        (1, 1, 1024, 8),
        (1, 32, 64, 8),
        (16, 1, 64, 8),
        (1, 1, 64, 64),
        (4, 8, 512, 16),
    ):
        shape = jax.ShapeDtypeStruct((images, 1, 1, positions, 32), jnp.float32)
        features = jax.eval_shape(Features.from_grid, shape)
        tokens = jax.ShapeDtypeStruct((images, sentences, length), jnp.int32)
        one = jax.ShapeDtypeStruct((images, length), jnp.int32)
        params = jax.eval_shape(net.decoder.init, jax.random.key(0), features, one)
        variables = {"params": {"decoder": params["params"]}}
        lowered = word_losses.lower(net, variables, features, tokens, budget=BUDGET)
        compiled = lowered.compile()
        sizes = (images, sentences, positions, length)
        results = 4 * images * sentences * positions * length
        temporary[sizes] = compiled.memory_analysis().temp_size_in_bytes - 4 * results
        operations[sizes] = images * sentences * positions * length
    assert max(temporary.values()) <= 1.25 * BUDGET, temporary
    largest = 4 * max(operations.values()) * 5000
    assert largest > 100 * BUDGET  # what [B N T F P V] would have taken


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_lowers_for_accelerators(platform, dtype):
    net, variables = captioner("s2vt", dtype)
    features, tokens = problem()
    call = jax.jit(lambda *arrays: word_losses(net, *arrays, kl=True))
    lowered = call.trace(variables, features, tokens).lower(lowering_platforms=(platform,))
    assert len(lowered.as_text()) > 1000


def test_bfloat16_maps_order_positions_as_float32_does():
    net, variables = captioner("s2vt", scale=0.4)
    rounded = net.clone(decoder=net.decoder.clone(dtype=jnp.bfloat16))
    features, tokens = problem(frames=4, grid=(4, 4))
    exact = word_losses(net, variables, features, tokens, kl=True)
    near = word_losses(rounded, variables, features, tokens, kl=True)
    assert near.loss.dtype == jnp.float32
    np.testing.assert_allclose(near.loss, exact.loss, atol=0.05)
    np.testing.assert_allclose(near.kl, exact.kl, atol=0.05)


def test_words_are_one_trace_and_positions_share_their_embeddings(monkeypatch):
    net, variables = captioner("s2vt")
    looked_up = []
    monkeypatch.setattr(
        cell, "look_up", lambda *a, inner=cell.look_up: looked_up.append(a[2].shape) or inner(*a)
    )
    features, tokens = problem(length=9)
    text = str(jax.make_jaxpr(functools.partial(word_losses, net))(variables, features, tokens))
    assert len(looked_up) <= 2  # one trace, and one to learn shapes
    # No array has both a position's and an embedding's axis: [I B N T m] would end in ",9,4]".
    assert "12,3,2,9,4]" not in text and "12,2,3,9,4]" not in text


def test_refuses_tokens_without_a_sentence_axis():
    net, variables = captioner("s2vt")
    features, tokens = problem()
    with pytest.raises(ValueError, match=r"expected \[B N T\]"):
        word_losses(net, variables, features, tokens[:, 0])
