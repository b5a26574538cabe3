"""Maps of every method as they were before methods became dataclasses, from `capjax.explain` alone.

    python -m tests.golden.method_maps      # writes method_maps.npz beside it

Made with capjax at commit c94e730, jax 0.10 on a processor. Weights are those shipped, or drawn
with NumPy from a seed (tests/explainers/toys.py): nothing depends on the version of jax.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import capjax
from capjax.captioner import Captioner, build_net
from capjax.data.scenes import scene
from capjax.decoders import S2VT, AttentionLSTM
from capjax.encoders import ConvNet, ViT
from capjax.types import Preprocessing
from tests.explainers.toys import TEXT, randomised

OUTPUTS = Path(__file__).with_name("method_maps.npz")
QUERIES = {
    "scenes-soft": "[a large blue circle] left of a small red triangle",
    "clip": "a man on [a horse]",
    "transformer": "two dogs play with [a ball]",
}
METHODS = {
    "scenes-soft": (
        *("attention", "attention_choice", "gradcam", "caption_guided", "caption_guided_kl"),
    ),
    "clip": ("gradcam", "caption_guided", "caption_guided_kl"),
    "transformer": ("attention", "attention_choice", "rollout", "gradcam", "caption_guided"),
}


@functools.cache
def captioner(name: str) -> Captioner:
    """The captioner of one part of the file."""
    if name == "scenes-soft":
        return capjax.load(name)
    if name == "clip":
        preprocessing = Preprocessing((32, 32), frames=5)
        sizes = {"hidden": 16, "embedding": 10}
        decoder = S2VT(TEXT.size, 24, **sizes, scan="frames")
        net = build_net(ConvNet(widths=(8, 24), residuals=(0, 1)), decoder, preprocessing)
        return Captioner(net, randomised(net, preprocessing), TEXT, preprocessing)
    encoder = ViT(patch=8, width=24, layers=2, heads=2, mlp=32, size=(24, 32))
    decoder = AttentionLSTM(
        vocab_size=TEXT.size, features=24, hidden=16, embedding=10, attention=12
    )
    net = build_net(encoder, decoder, encoder.preprocessing())
    images, tokens = jnp.zeros((1, 24, 32, 3)), jnp.zeros((1, 3), jnp.int32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), images, tokens)
    draw = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(draw.normal(0, 0.4, leaf.shape), jnp.float32), dict(shapes)
    )
    return Captioner(net, variables, TEXT, encoder.preprocessing())


def pictures(name: str) -> list[np.ndarray]:
    """Two images or clips that this captioner explains."""
    if name == "scenes-soft":
        return [np.asarray(scene(index, split="test").image) for index in (3, 8)]
    shape = (2, 5, 32, 32, 3) if name == "clip" else (2, 24, 32, 3)
    return list(np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8))


def maps(name: str) -> dict[str, np.ndarray]:
    """Per image and method the maps of words, of phrases and of whole frames."""
    explained = capjax.explain(
        captioner(name),
        pictures(name),
        methods=METHODS[name],
        query=QUERIES[name],
        decoding=capjax.Greedy(),
        max_len=4,
    )
    found = {}
    for number, image in enumerate(explained):
        for method in METHODS[name]:
            own = image[method]
            key = f"{name}/{number}/{method}"
            found[key] = own.maps
            found[f"{key}.phrases"] = own.phrase_maps
            if own.frame_maps is not None:
                found[f"{key}.frames"] = own.frame_maps
    return found


if __name__ == "__main__":
    np.savez_compressed(OUTPUTS, **{k: v for name in METHODS for k, v in maps(name).items()})
