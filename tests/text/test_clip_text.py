"""CLIP's text encoder against transformers' outputs; where a text's embedding is read."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from capjax.text import clip_text
from capjax.text.clip_text import ClipText
from capjax.weights import load_weights
from tests.golden import clip_text_outputs as golden
from tests.golden.photographs import relative_error
from tests.golden.resnet_torchvision import seeded_state

LAYOUT = {name: tuple(shape) for name, shape in json.loads(golden.LAYOUT.read_text()).items()}
TINY = {**golden.TINY, "normalise": False}


def loaded(folder, state, net=None):
    save_file(state, folder / "model.safetensors")
    return load_weights(net or ClipText(**TINY), folder / "model.safetensors", golden.TOKENS)


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    return loaded(tmp_path_factory.mktemp("clip"), seeded_state(LAYOUT))


@pytest.fixture(scope="module")
def expected():
    with np.load(golden.OUTPUTS) as archive:
        return dict(archive)


@pytest.mark.parametrize(
    ("fields", "count"),
    [({}, 63_165_952 + 262_144), (clip_text.LARGE, 123_650_304)],
)
def test_parameter_counts(fields, count):
    shapes = jax.eval_shape(ClipText(**fields).init, jax.random.key(0), golden.TOKENS)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


@pytest.mark.parametrize(("rule", "end"), [("largest", None), ("first", golden.END)])
def test_equals_transformers(variables, expected, rule, end):
    found = ClipText(**TINY, end=end).apply(variables, golden.TOKENS)
    np.testing.assert_allclose(found.hidden, expected["hidden"], atol=2e-5)
    np.testing.assert_allclose(found.embedding, expected[rule], atol=5e-5)


def test_the_end_is_not_the_last_token(variables, expected):
    """The negative control: reading the last token of a padded batch gives something else."""
    kernel = variables["params"]["projection"]["kernel"]
    last = expected["hidden"][:, -1] @ kernel
    distance = np.linalg.norm(last - expected["largest"], axis=1)
    assert (distance / np.linalg.norm(last, axis=1) > 0.1).all()
    assert np.abs(expected["largest"] - expected["first"]).max() > 0.1


def test_words_after_the_end_change_nothing(variables):
    changed = golden.TOKENS.copy()
    changed[1, 5:] = [1, 2, 3, 4]
    embed = jax.jit(ClipText(**TINY).apply)
    before, after = (embed(variables, tokens).embedding for tokens in (golden.TOKENS, changed))
    np.testing.assert_array_equal(before[1], after[1])
    short = ClipText(**TINY).apply(variables, golden.TOKENS[1:2, :4]).embedding
    np.testing.assert_allclose(before[1:2], short, atol=2e-5)


def test_a_word_sees_only_those_before_it(variables):
    changed = golden.TOKENS.copy()
    changed[:, 4] = (changed[:, 4] + 1) % TINY["vocab_size"]
    embed = jax.jit(ClipText(**TINY).apply)
    before, after = (embed(variables, tokens).hidden for tokens in (golden.TOKENS, changed))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (np.abs(before[:, 4:] - after[:, 4:]).max(axis=(1, 2)) > 1e-3).all()


def test_embeddings_of_length_one(variables):
    net = ClipText(**{**TINY, "normalise": True})
    vectors = net.apply(variables, golden.TOKENS).embedding
    np.testing.assert_allclose(vectors @ vectors.T * np.eye(3), np.eye(3), atol=1e-6)


def test_openais_layout(tmp_path, variables):
    """The same weights as OpenAI stores them, with an image encoder beside."""
    theirs = seeded_state(LAYOUT)
    state = {
        "token_embedding.weight": theirs["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": theirs["text_model.embeddings.position_embedding.weight"],
        "text_projection": np.ascontiguousarray(theirs["text_projection.weight"].T),
        "logit_scale": np.full((), 4.6, np.float32),
        "visual.proj": np.ones((2, 3), np.float32),
    }
    for leaf in ("weight", "bias"):
        state[f"ln_final.{leaf}"] = theirs[f"text_model.final_layer_norm.{leaf}"]
        for number in range(TINY["layers"]):
            layer, block = (
                f"text_model.encoder.layers.{number}.",
                f"transformer.resblocks.{number}.",
            )
            state[f"{block}attn.in_proj_{leaf}"] = np.concatenate(
                [theirs[f"{layer}self_attn.{part}_proj.{leaf}"] for part in "qkv"]
            )
            for ours, their in (
                ("attn.out_proj", "self_attn.out_proj"),
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ):
                state[f"{block}{ours}.{leaf}"] = theirs[f"{layer}{their}.{leaf}"]
    jax.tree.map(np.testing.assert_array_equal, loaded(tmp_path, state), variables)


def test_a_whole_clip_without_projection(tmp_path):
    state = seeded_state(LAYOUT) | {"vision_model.x.weight": np.ones(3, np.float32)}
    net = ClipText(**{**TINY, "projection": None})
    found = net.apply(loaded(tmp_path, state, net), golden.TOKENS).embedding
    assert found.shape == (3, TINY["width"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("larger", "heads"), [({}, 8), (clip_text.LARGE, 12)])
def test_parity_at_full_size(larger, heads, tmp_path):
    """The text encoders of CLIP ViT-B/32 and ViT-L/14, seeded."""
    pytest.importorskip("torch")
    base = {"vocab_size": 49408, "width": 512, "layers": 12, "mlp": 2048, "projection": 512}
    fields = {**base, "positions": 77, **larger, "heads": heads}
    state, expected = golden.outputs_of(fields)
    errors = {}
    for rule, end in (("largest", None), ("first", golden.END)):
        net = ClipText(**fields, end=end, normalise=False)
        found = net.apply(loaded(tmp_path, state, net), golden.TOKENS)
        errors[rule] = relative_error(np.asarray(found.embedding), expected[rule])
        errors["hidden"] = relative_error(np.asarray(found.hidden), expected["hidden"])
    print(fields["width"], {name: f"{error:.1e}" for name, error in errors.items()})
    assert max(errors.values()) <= 1e-4
