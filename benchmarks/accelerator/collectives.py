"""What the devices of a slice exchange in an explanation and in an update, by the compiled text.

The sizes are small, since what is exchanged does not depend on them, and the text comes sooner.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import Any

import jax
import numpy as np
from accelerator.program import integers, shape
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from capjax.captioner import CaptionNet
from capjax.decoders import AttentionLSTM
from capjax.encoders import ConvNet
from capjax.explainers.attentions.attention import Attention
from capjax.explainers.cams.gradcam import GradCAM
from capjax.explainers.caption_guided import CaptionGuided
from capjax.explainers.programs import Asked, explain_targets
from capjax.ops import devices
from capjax.train import optimizer as optimizers
from capjax.train import sharding
from capjax.train.objectives.losses import LossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.state import create_state
from capjax.train.step import compile_step, make_train_step
from capjax.types import Features

SLICE = "v5e:4x4"
KINDS = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
VOCABULARY, DEPTH, SIZE, SIDE, WORDS, ROWS = 40, 24, 16, 4, 5, 2
_OPERATION = re.compile(rf"= (.+?) ({KINDS})(?:-start)?\(")
_ARRAY = re.compile(r"[a-z]+\d+\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Exchanged:
    """What the devices of one program exchange.

    Attributes:
      arrays: how many of each kind and size: ("all-reduce", numbers in the array).
      learnt: numbers that the program is to learn; the gradient has as many.
    """

    arrays: Counter[tuple[str, int]]
    learnt: int

    @property
    def summed(self) -> int:
        """Numbers that are summed over devices, in arrays of more than one."""
        return sum(
            size * count
            for (kind, size), count in self.arrays.items()
            if kind == "all-reduce" and size > 1
        )

    def beyond_gradients(self) -> list[str]:
        """What is neither the sum of a gradient nor that of a single number."""
        found = [f"{kind} of {size}" for kind, size in self.arrays if kind != "all-reduce"]
        if self.summed > self.learnt:
            found.append(f"all-reduce of {self.summed} numbers, and learns {self.learnt}")
        return found

    def __str__(self) -> str:
        if not self.arrays:
            return "nothing"
        kinds = Counter[str]()
        for (kind, _), count in self.arrays.items():
            kinds[kind] += count
        counted = ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
        singles = self.arrays["all-reduce", 1]
        return (
            f"{counted}: sums of {self.summed} numbers, where {self.learnt} are learnt, and of "
            f"{singles} single ones"
        )


def exchanged(text: str) -> Counter[tuple[str, int]]:
    """(kind, numbers) of every array that a compiled program exchanges."""
    found: Counter[tuple[str, int]] = Counter()
    for results, kind in _OPERATION.findall(text):
        for dims in _ARRAY.findall(results):
            found[kind, int(np.prod([int(size) for size in dims.split(",") if size]))] += 1
    return found


def explanation(chips: np.ndarray) -> Exchanged:
    """Three methods for every word of images that are spread over all devices."""
    net, variables = _net()
    mesh = Mesh(chips, (devices.AXIS,))
    images = ROWS * mesh.size
    pixels = shape(images, 32, 32, 3, dtype=np.uint8)
    asked = Asked.abstract(_features(images), pixels, queries=1, targets=WORDS, tokens=WORDS)
    methods = (Attention(), GradCAM(), CaptionGuided())
    variables = devices.placed_shapes(variables, NamedSharding(mesh, PartitionSpec()))
    asked = devices.rows_over(mesh, asked)
    text = explain_targets.lower(net, methods, variables, asked, mesh).compile().as_text()
    return Exchanged(exchanged(text), 0)


def update(chips: np.ndarray) -> Exchanged:
    """A training step from cached features that are spread over all devices."""
    net, variables = _net()
    mesh = sharding.data_mesh(list(chips))
    captions = ROWS * mesh.size
    config = OptimizerConfig(learning_rate=1e-3, schedule="constant")
    optimizer = optimizers.make_optimizer(config, 10)
    step = make_train_step(
        net,
        optimizer,
        LossConfig(),
        schedule=optimizers.make_schedule(config, 1e-3, 10),
        grid=(SIDE, SIDE),
    )
    state = jax.eval_shape(
        lambda tree: create_state(
            tree, optimizer=optimizer, train_encoder=False, key=jax.random.key(0)
        ),
        variables,
    )
    batch = {
        "features": shape(captions, 1, SIDE * SIDE, DEPTH),
        "tokens": integers(captions, WORDS),
        "lengths": integers(captions),
        "id": integers(captions),
    }
    text = compile_step(step, mesh).lower(state, batch).compile().as_text()
    return Exchanged(exchanged(text), sum(leaf.size for leaf in jax.tree.leaves(variables)))


def chips_of_slice() -> np.ndarray:
    """The devices of the slice: they compile, and run nothing."""
    return np.asarray(topologies.get_topology_desc(platform="tpu", topology_name=SLICE).devices)


def report_slice() -> list[str]:
    """Prints what is exchanged; returns what should not be, in sentences."""
    chips = chips_of_slice()
    print(f"\ncompiled for {SLICE}, {len(chips)} chips")
    explained, updated = explanation(chips), update(chips)
    print(f"  an explanation exchanges {explained}")
    print(f"  an update exchanges {updated}")
    found = [f"an explanation exchanges {kind} of {size}" for kind, size in explained.arrays]
    return found + [f"an update exchanges {what}" for what in updated.beyond_gradients()]


def _net() -> tuple[CaptionNet, Any]:
    decoder = AttentionLSTM(
        VOCABULARY, DEPTH, hidden=SIZE, attention=SIZE, embedding=SIZE, dtype=jax.numpy.bfloat16
    )
    net = CaptionNet(ConvNet(), decoder, (0.0,) * 3, (1.0,) * 3)
    init = jax.eval_shape(decoder.init, jax.random.key(0), _features(1), integers(1, 2))
    return net, {"params": {"decoder": init["params"]}}


def _features(images: int) -> Any:
    return jax.eval_shape(Features.from_grid, shape(images, SIDE, SIDE, DEPTH))
