"""Fills holes by the gated-convolution inpainter, with weights of one's choice."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from capjax.inpaint.checkpoints import load_inpainter, shipped_inpainters
from capjax.inpaint.fills.contract import Fill, Images, Masks, Trained
from capjax.inpaint.generator import MULTIPLE, Generator
from capjax.inpaint.inpainter import Inpainter, fill_holes
from capjax.inpaint.training.settings import HoleConfig
from capjax.ops.devices import by_rows, mesh_of, pad_rows


@dataclasses.dataclass(frozen=True)
class Gated(Fill):
    """What a generator imagines that has learnt to fill holes.

    Batches are one jitted program over all local devices. Pictures whose sides are no multiples of
    eight are mirrored beyond their borders up to the next one.

    Attributes:
      checkpoint: a folder of an inpainter, a file of released weights, or the name of a shipped
        one; see `capjax.inpaint.checkpoints.load_inpainter`.
      batch: most pictures at once; changes no result.
      precision: of products and activations.
    """

    NAME = "gated"
    COST = "one pass of the generator a hole, in batches; an accelerator's work"
    SOURCE = "Yu et al. 2019 (DeepFill v2)"

    checkpoint: str = ""
    batch: int = 16
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"got gated.batch={self.batch}; expected 1 or more")

    @property
    def trained(self) -> Trained:
        """The size and holes in its checkpoint; half as wide where that says nothing of holes."""
        inpainter = self._inpainter
        side, holes = min(inpainter.size), inpainter.card.get("holes")
        if isinstance(holes, Mapping):  # those of scenes are objects, of which it has no sizes
            return Trained(side, HoleConfig(**holes).longest(side))
        return Trained(side, side // 2)

    def check(self) -> None:
        """Raises ValueError where no weights are named, FileNotFoundError where there are none."""
        _ = self._inpainter

    def describe(self) -> dict[str, Any]:
        """The digest of the weights, and what else decides a picture."""
        return {"inpainter": self._inpainter.hash, "precision": self.precision}

    @property
    def _inpainter(self) -> Inpainter:
        if not self.checkpoint:
            shipped = ", ".join(shipped_inpainters())
            raise ValueError(
                "the fill gated needs weights: give gated.checkpoint, a folder or file of an "
                f"inpainter{f' or one of: {shipped}' if shipped else ''}; or choose another fill"
            )
        return _loaded(self.checkpoint).in_precision(self.precision)

    def paint(self, images: Images, masks: Masks) -> Images:
        """What the generator imagines."""
        inpainter = self._inpainter
        height, width = images.shape[1:3]
        ends = ((0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE))
        images = np.pad(images, (*ends, (0, 0)), mode="symmetric")
        masks = np.pad(masks, ends, mode="symmetric")
        # Few sizes of batches, so that few programs are compiled.
        rows = min(self.batch, 1 << (len(images) - 1).bit_length())
        mesh = mesh_of(rows)
        found = []
        for start in range(0, len(images), rows):
            own = [array[start : start + rows] for array in (images, masks)]
            padded = [pad_rows(array, mesh, least=rows) for array in own]
            painted = _painted(inpainter.net, inpainter.variables, *padded, mesh=mesh)
            found.append(np.asarray(painted)[: len(own[0])])
        return np.concatenate(found)[:, :height, :width]


@functools.lru_cache(maxsize=4)
def _loaded(checkpoint: str) -> Inpainter:
    return load_inpainter(checkpoint)


@functools.partial(jax.jit, static_argnames=("net", "mesh"))
def _painted(
    net: Generator, variables: Any, images: jax.Array, masks: jax.Array, *, mesh: Mesh | None
) -> jax.Array:
    def own(whole: Any, rows: Any) -> jax.Array:
        return fill_holes(net, whole, *rows)

    return by_rows(own, mesh)(variables, (images, masks))
