"""The full-size ViT-GPT2 on 20 photographs: the tokens that transformers writes."""

import json

import jax
import numpy as np
import pytest

from capjax.captioner import build_net
from capjax.data.pictures.given import read_picture
from capjax.decoders import GPT2
from capjax.decoding import Greedy, HuggingFaceBeam, generate
from capjax.encoders import ViT
from capjax.weights.encoders import fit_weights
from capjax.weights.tables.gpt2 import vit_gpt2_layouts
from tests.golden import vit_gpt2_photographs as golden
from tests.golden.photographs import files

pytestmark = pytest.mark.slow
METHODS = {"greedy": Greedy(), "beam4": HuggingFaceBeam(4)}


@pytest.fixture(scope="module")
def model(shared_data):
    encoder = ViT()
    net = build_net(encoder, GPT2(golden.VOCABULARY, 768), encoder.preprocessing())
    layout = json.loads(golden.LAYOUT.read_text())
    arrays = golden.model_state({name: tuple(shape) for name, shape in layout.items()})
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), np.uint8)
    tokens = jax.ShapeDtypeStruct((1, 2), np.int32)
    variables = fit_weights(
        net, arrays, images, tokens, origin="a test", layouts=vit_gpt2_layouts()
    )
    return net, jax.device_put(variables)


@pytest.fixture(scope="module")
def features(model, shared_data):
    net, variables = model
    paths = files(shared_data, golden.PHOTOGRAPHS)
    pictures = [read_picture(path, net.encoder.preprocessing()) for path in paths]
    encode = jax.jit(lambda variables, images: net.apply(variables, images, method="encode"))
    return encode(variables, np.stack([picture.prepared for picture in pictures]))


@pytest.fixture(scope="module")
def stored():
    with np.load(golden.OUTPUTS) as arrays:
        return dict(arrays)


def relative(ours, theirs):
    return np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max()


def test_features_and_logits(model, features, stored):
    net, variables = model
    first = jax.tree.map(lambda leaf: leaf[:3], features)
    tokens = np.concatenate([first.extra, first.positions[:, 0]], axis=1)
    assert relative(tokens[:, ::16, ::16], stored["features"]) <= 1e-4
    hidden, _ = net.apply(variables, first, golden.seeded_tokens(), method="teacher_force")
    logits = net.apply(variables, hidden, method="readout")
    assert relative(logits[..., golden.LOGITS_OF], stored["logits"]) <= 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_the_tokens_of_transformers(model, features, stored, name):
    net, variables = model
    say = jax.jit(
        lambda variables, features: generate(
            net, variables, features, METHODS[name], eos=golden.END, max_len=golden.MAX_LENGTH - 1
        )
    )
    decoded = say(variables, features)
    inside = np.arange(golden.MAX_LENGTH - 1)[None] < np.asarray(decoded.lengths[:, :1])
    tokens = np.where(inside, decoded.tokens[:, 0], golden.END)
    np.testing.assert_array_equal(tokens, stored[name])
    lengths = np.asarray(decoded.lengths[:, 0])
    assert len({tuple(row) for row in tokens}) >= 10
    assert (lengths < 15).sum() >= 3 and (~np.asarray(decoded.finished[:, 0])).sum() >= 3
    if name == "beam4":
        np.testing.assert_allclose(decoded.scores[:, 0], stored["beam4_scores"], rtol=1e-4)
