"""The small ViT-GPT2 of tests/golden/vit_gpt2_outputs.py on our side."""

import json

import jax.numpy as jnp

from capjax.captioner import build_net
from capjax.decoders import GPT2
from capjax.encoders import ViT
from capjax.weights.encoders import fit_weights
from capjax.weights.tables.gpt2 import vit_gpt2_layouts
from tests.golden import vit_gpt2_outputs as golden


def make_net():
    """The net, and its preprocessing."""
    encoder = ViT(
        patch=golden.PATCH,
        width=golden.WIDTH,
        layers=golden.LAYERS,
        heads=golden.HEADS,
        mlp=golden.MLP,
        size=(golden.SIDE, golden.SIDE),
    )
    decoder = GPT2(
        golden.VOCABULARY,
        golden.WIDTH,
        width=golden.WIDTH,
        layers=golden.LAYERS,
        heads=golden.HEADS,
        mlp=golden.MLP,
        positions=2 * golden.MAX_LENGTH,
        start_token=golden.END,
    )
    return build_net(encoder, decoder, encoder.preprocessing()), encoder.preprocessing()


def source(seed, *, vocabulary=golden.VOCABULARY):
    """The arrays of a weight file, by transformers' keys, for a vocabulary of so many."""
    layout = {name: tuple(shape) for name, shape in json.loads(golden.LAYOUT.read_text()).items()}
    layout["decoder.transformer.wte.weight"] = (vocabulary, golden.WIDTH)
    return golden.model_state(layout, seed, end=vocabulary - 1)


def fit(net, arrays):
    """Variables from the arrays of a weight file."""
    images = jnp.zeros((1, golden.SIDE, golden.SIDE, 3), jnp.uint8)
    tokens = jnp.zeros((1, 2), jnp.int32)
    return fit_weights(net, arrays, images, tokens, origin="a test", layouts=vit_gpt2_layouts())
