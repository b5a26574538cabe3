"""Sanity checks of explanations (Adebayo et al. 2018): what a map must not survive.

A method that shows why a captioner wrote a word must show something else once the captioner's
weights are shuffled, and once other words are asked about.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jaxtyping import Float

from capjax.captioner import Captioner
from capjax.explainers.wording import Wording
from capjax.metrics.faithfulness import rank_correlation, structural_similarity

Path = tuple[str, ...]

ENCODER_PARTS = 3
"""The encoder is shuffled in at most so many parts: each costs every method one more pass."""
RADIUS = 5
"""Of the neighbours of an image, in levels of 255: the radius of 0.02 of Yeh et al. 2019."""


@dataclasses.dataclass(frozen=True)
class Level:
    """Parameters that are shuffled together.

    Attributes:
      name: for the tables.
      paths: of the parameters.
    """

    name: str
    paths: frozenset[Path]


def parameter_levels(captioner: Captioner) -> list[Level]:
    """The captioner's parameters from the words down: readout, decoder, parts of the encoder.

    The encoder's parts are in the order of its computation, the last one first.
    """
    parameters = traverse_util.flatten_dict(dict(captioner.variables["params"]))
    used = _first_uses(captioner, "readout")
    decoder = [path for path in parameters if path[0] == "decoder"]
    readout = frozenset(path for path in decoder if path in used)
    levels = [Level("readout", readout), Level("decoder", frozenset(decoder) - readout)]
    first = _first_uses(captioner, "encode")
    children: dict[str, int] = {}
    for path in parameters:
        if path[0] == "encoder":
            place = first.get(path, 0)
            children[path[1]] = min(place, children.get(path[1], place))
    order = sorted(children, key=lambda name: (children[name], name))
    parts = np.array_split(np.array(order), min(ENCODER_PARTS, len(order)))
    for part in reversed(parts):
        own = frozenset(path for path in parameters if path[0] == "encoder" and path[1] in part)
        name = part[0] if len(part) == 1 else f"{part[0]} to {part[-1]}"
        levels.append(Level(f"encoder, {name}", own))
    return [level for level in levels if level.paths]


def _first_uses(captioner: Captioner, method: str) -> dict[Path, int]:
    """Parameters that a method of the net reads -> the number of the operation that does first."""
    net, size = captioner.net, captioner.preprocessing.size
    frames = (captioner.preprocessing.frames,) if captioner.preprocessing.frames else ()
    images = jax.ShapeDtypeStruct((1, *frames, *size, 3), jnp.uint8)
    given: Any = images
    if method == "readout":
        tokens = jax.ShapeDtypeStruct((1, 1), jnp.int32)

        def force(variables: Any, images: Any, tokens: Any) -> Any:
            features: Any = net.apply(variables, images, method="encode")
            hidden: Any = net.apply(variables, features, tokens, method="teacher_force")
            return hidden[0]

        given = jax.eval_shape(force, captioner.variables, images, tokens)
    flat = traverse_util.flatten_dict(dict(captioner.variables))
    paths = list(flat)

    def apply(values: Sequence[Any], given: Any) -> Any:
        variables = traverse_util.unflatten_dict(dict(zip(paths, values, strict=True)))
        return net.apply(variables, given, method=method)

    jaxpr = jax.make_jaxpr(apply)([flat[path] for path in paths], given).jaxpr
    found: dict[int, int] = {}
    for number, equation in enumerate(jaxpr.eqns):
        for variable in equation.invars:
            found.setdefault(id(variable), number)
    return {
        path[1:]: found[id(variable)]
        for path, variable in zip(paths, jaxpr.invars, strict=False)
        if path[0] == "params" and id(variable) in found
    }


def shuffled(captioner: Captioner, level: Level, seed: int = 0) -> Captioner:
    """The captioner with the numbers of each of a level's parameters in another order.

    Deviation from the paper, which draws initial values anew: shuffled, a layer loses all it has
    learned and keeps the sizes of its numbers, so that activations neither die nor saturate, and a
    change of the map is not one of the scale.
    """
    flat = traverse_util.flatten_dict(dict(captioner.variables))
    for number, path in enumerate(sorted(level.paths)):
        own = ("params", *path)
        draw = np.random.default_rng((seed, number))
        values = np.asarray(flat[own])
        flat[own] = jnp.asarray(draw.permutation(values.ravel()).reshape(values.shape))
    return dataclasses.replace(captioner, variables=traverse_util.unflatten_dict(flat))


def shuffled_captioners(captioner: Captioner) -> Iterator[tuple[str, str, Captioner]]:
    """(kind, level, captioner): "cascading" from the words down, then each level "independent".

    The first level alone is also the first of the cascade: it comes once, as both.
    """
    cascade = captioner
    levels = parameter_levels(captioner)
    for level in levels:
        cascade = shuffled(cascade, level)
        yield "cascading", level.name, cascade
    for level in levels[1:]:
        yield "independent", level.name, shuffled(captioner, level)


def similarities(
    one: Float[np.ndarray, "N D"], other: Float[np.ndarray, "N D"], grid: tuple[int, int]
) -> Mapping[str, list[float]]:
    """How alike two maps of every word are: Spearman of the values and of their sizes, and SSIM."""
    frames = [maps.reshape(*maps.shape[:1], -1, *grid) for maps in (one, other)]
    found = {
        "spearman": rank_correlation(one, other),
        "spearman_abs": rank_correlation(np.abs(one), np.abs(other)),
        "ssim": structural_similarity(*frames).mean(axis=-1),
    }
    return {name: [round(float(value), 6) for value in own] for name, own in found.items()}


def other_words(sentence: Wording, other: Wording) -> Wording:
    """Another image's sentence, of which as many words are explained, none of them the same."""
    chosen = []
    for place, word in enumerate(sentence.words):
        start = place * len(other.words) // max(len(sentence.words), 1)
        turned = [(start + step) % len(other.words) for step in range(len(other.words))]
        chosen.append(next((at for at in turned if other.words[at] != word), start))
    return other.of_words(chosen)


def neighbour(image: np.ndarray, number: int, seed: int) -> np.ndarray:
    """A uint8 image within `RADIUS` of another at every pixel, drawn from its own pixels' seed."""
    draw = np.random.default_rng((seed, number))
    noise = draw.integers(-RADIUS, RADIUS + 1, image.shape)
    return np.clip(image.astype(np.int16) + noise, 0, 255).astype(np.uint8)
