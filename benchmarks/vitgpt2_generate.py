"""Beam-4 captions of photographs by ViT-GPT2, ours and transformers': a part of `pretrained.py`.

Both sides hold the seeded weights of tests/golden/vit_gpt2_photographs.py, with which captions
differ, some end early and some reach the limit of 16 tokens; that they write the same tokens is
proved before anything is timed. Encoding counts.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.captioner import build_net
from capjax.decoders import GPT2
from capjax.decoding import HuggingFaceBeam, generate
from capjax.encoders import ViT
from capjax.weights.encoders import fit_weights
from capjax.weights.tables.gpt2 import vit_gpt2_layouts
from tests.golden import vit_gpt2_photographs as golden
from tests.golden.resnet_torchvision import import_torchvision

BATCH, WIDTH = 8, 4


def captioning(images: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Ours and transformers', as functions without arguments that write the same tokens.

    Args:
        images: [B 224 224 3], normalised to -1..1.
    """
    import_torchvision()  # transformers looks at it
    import torch

    with tempfile.TemporaryDirectory() as folder:
        model, shapes = golden.build_model(folder)
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    longest = golden.MAX_LENGTH

    def theirs() -> Any:
        with torch.inference_mode():
            return model.generate(pixels, max_length=longest, num_beams=WIDTH, do_sample=False)

    variables, write = ours(shapes, longest - 1)
    raw = jnp.asarray(np.round(127.5 * images + 127.5), jnp.uint8)
    candidates = {"capjax": lambda: write(variables, raw), "transformers": theirs}
    written = theirs()[:, 1:].numpy()
    decoded = jax.device_get(candidates["capjax"]())
    for row, tokens in enumerate(written):
        own = decoded.tokens[row, 0, : decoded.lengths[row, 0]]
        # transformers fills up with the end token, to the longest caption of the batch.
        padded = np.pad(own, (0, max(0, len(tokens) - len(own))), constant_values=golden.END)
        if padded.tolist() != tokens.tolist():
            sys.exit(f"photograph {row}: capjax writes {own}, transformers {tokens}")
    return candidates


def ours(shapes: dict[str, tuple[int, ...]], max_len: int) -> tuple[Any, Callable[..., Any]]:
    """Variables, and the jitted function from them and images to captions."""
    encoder = ViT()
    net = build_net(encoder, GPT2(golden.VOCABULARY, 768), encoder.preprocessing())
    example = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)
    words = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    state = golden.model_state(shapes)
    layouts = vit_gpt2_layouts()
    variables = fit_weights(net, state, example, words, origin="seeds", layouts=layouts)

    @jax.jit
    def write(variables: Any, images: jax.Array) -> Any:
        features = net.apply(variables, images, method="encode")
        method = HuggingFaceBeam(WIDTH)
        return generate(net, variables, features, method, eos=golden.END, max_len=max_len)

    return jax.device_put(variables), write
