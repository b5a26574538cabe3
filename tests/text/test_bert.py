"""BERT against transformers' outputs, its poolings, and padding that changes nothing."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from capjax.encoders.transformer import Block
from capjax.text.bert import MINILM_L6, Bert
from capjax.weights import load_weights
from tests.golden import bert_outputs as golden
from tests.golden.photographs import relative_error
from tests.golden.resnet_torchvision import seeded_state

LAYOUT = {name: tuple(shape) for name, shape in json.loads(golden.LAYOUT.read_text()).items()}
TINY = golden.TINY
TOKENS, MASK = golden.seeded_tokens(TINY["vocab_size"])


def loaded(folder, net, state=None):
    save_file(state or seeded_state(LAYOUT), folder / "model.safetensors")
    return load_weights(net, folder / "model.safetensors", TOKENS, MASK)


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    return loaded(tmp_path_factory.mktemp("bert"), Bert(**TINY))


@pytest.fixture(scope="module")
def expected():
    with np.load(golden.OUTPUTS) as archive:
        return dict(archive)


@pytest.mark.parametrize(
    ("fields", "count"),
    [(MINILM_L6, 22_713_216), ({}, 109_482_240)],
)
def test_parameter_counts(fields, count):
    net = Bert(**fields, pooling="pooler")
    shapes = jax.eval_shape(net.init, jax.random.key(0), TOKENS, MASK)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


def test_every_token_equals_transformers(variables, expected):
    found, state = Bert(**TINY).apply(
        variables,
        TOKENS,
        MASK,
        capture_intermediates=lambda module, _: isinstance(module, Block),
        mutable=["intermediates"],
    )
    np.testing.assert_allclose(found.hidden[MASK], expected["hidden"][MASK], atol=2e-5)
    for number in range(TINY["layers"]):
        [(x, _)] = state["intermediates"][f"block_{number}"]["__call__"]
        np.testing.assert_allclose(x[MASK], expected[f"layer{number}"][MASK], atol=2e-5)


def test_poolings(tmp_path, variables, expected):
    hidden = expected["hidden"]
    mean = np.stack(
        [row[:length].mean(0) for row, length in zip(hidden, golden.LENGTHS, strict=True)]
    )
    found = Bert(**TINY).apply(variables, TOKENS, MASK).embedding
    np.testing.assert_allclose(found, mean, atol=2e-5)
    unit = Bert(**TINY, normalise=True).apply(variables, TOKENS, MASK).embedding
    np.testing.assert_allclose(unit, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=2e-5)
    first = Bert(**TINY, pooling="cls").apply(variables, TOKENS, MASK).embedding
    np.testing.assert_allclose(first, hidden[:, 0], atol=2e-5)
    net = Bert(**TINY, pooling="pooler")
    pooled = net.apply(loaded(tmp_path, net), TOKENS, MASK).embedding
    np.testing.assert_allclose(pooled, expected["pooler"], atol=2e-5)


def test_padding_changes_nothing(variables):
    net = Bert(**TINY)
    together = net.apply(variables, TOKENS, MASK).embedding
    for row, length in enumerate(golden.LENGTHS):
        alone = net.apply(variables, TOKENS[row : row + 1, :length], MASK[row : row + 1, :length])
        np.testing.assert_allclose(together[row], alone.embedding[0], atol=2e-5)
    other = np.where(MASK, TOKENS, (TOKENS + 1) % TINY["vocab_size"])
    np.testing.assert_allclose(net.apply(variables, other, MASK).embedding, together, atol=1e-6)


def test_a_row_of_padding_is_zero_and_finite(variables):
    net = Bert(**TINY, normalise=True)
    mask = MASK & (np.arange(3) < 2)[:, None]
    found = net.apply(variables, TOKENS, mask).embedding
    assert np.isfinite(found).all()
    assert float(jnp.abs(found[2]).max()) == 0


def test_names_of_the_first_files(tmp_path, variables):
    """With `bert.` before each key, gamma and beta, position ids, and a head for masked words."""
    state = {}
    for name, value in seeded_state(LAYOUT).items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        state["bert." + name.replace("LayerNorm.bias", "LayerNorm.beta")] = value
    state["bert.embeddings.position_ids"] = np.arange(12)[None]
    state["cls.predictions.bias"] = np.zeros(40, np.float32)
    ours = loaded(tmp_path, Bert(**TINY), state)
    jax.tree.map(np.testing.assert_array_equal, ours, variables)


def test_wrong_use_is_named(variables):
    with pytest.raises(ValueError, match="15 tokens; .* 12 positions"):
        Bert(**TINY).apply(variables, np.zeros((1, 15), np.int32), np.ones((1, 15), bool))
    with pytest.raises(ValueError, match="mean, cls, pooler"):
        Bert(**TINY, pooling="max").apply(variables, TOKENS, MASK)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_parity_at_full_size(tmp_path):
    """bert-base, seeded."""
    pytest.importorskip("torch")
    fields = {**TINY, "vocab_size": 30522, "width": 768, "layers": 12, "heads": 12, "mlp": 3072}
    state, expected = golden.outputs_of(fields)
    net = Bert(**fields, pooling="pooler")
    found = net.apply(loaded(tmp_path, net, state), *golden.seeded_tokens(30522))
    hidden = relative_error(np.asarray(found.hidden)[MASK], expected["hidden"][MASK])
    pooled = relative_error(np.asarray(found.embedding), expected["pooler"])
    print(f"bert: hidden {hidden:.1e}, pooler {pooled:.1e}")
    assert max(hidden, pooled) <= 1e-4
