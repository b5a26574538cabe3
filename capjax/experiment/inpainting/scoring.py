"""Validation scores of filled pictures inside their holes, and what they look like."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import UInt8

from capjax import rng
from capjax.data.batches.loading import Loading
from capjax.data.batches.pipeline import Inputs, Share, evaluation_batches
from capjax.inpaint.generator import composite
from capjax.inpaint.pixels import as_bytes
from capjax.inpaint.training.players import Inpainting
from capjax.metrics.pictures.restoration import restoration
from capjax.ops import barrier
from capjax.train import sharding
from capjax.train.adversarial.players import GENERATOR
from capjax.viz.inpaint.side_by_side import side_by_side

HOLES_KEY = 0
"""Holes of validation are the same ones in every run, whatever its seed."""

NAMES = {"PSNR": "psnr_hole", "SSIM": "ssim_hole", "L1": "l1_hole"}
"""Scores, and what they are called where they are measured."""


@dataclasses.dataclass(frozen=True, eq=False)
class RestorationScorer:
    """Fills holes in validation pictures and compares with what was there.

    Attributes:
      players: whose generator fills.
      inputs: parts of pictures by number.
      count: how many there are.
      batch_size: pictures filled at once, over all devices.
      mesh: devices.
      loading: of the inputs.
    """

    players: Inpainting
    inputs: Inputs
    count: int
    batch_size: int
    mesh: Mesh
    loading: Loading

    def score(self, variables: Mapping[str, Any], *, images: int = 0) -> dict[str, float]:
        """Means over pictures of PSNR, SSIM and L1 (a share of the range) inside the holes.

        Args:
          variables: of the state.
          images: how many of the first pictures, 0 for all.
        """
        count = min(images, self.count) if images else self.count
        rows: dict[str, list[np.ndarray]] = {name: [] for name in NAMES}
        for batch in self._batches(count):
            scores, _ = self._compiled(variables["params"][GENERATOR], batch)
            for name in NAMES:
                rows[name].append(multihost_utils.process_allgather(scores[name], tiled=True))
        return {name: float(np.concatenate(own)[:count].mean()) for name, own in rows.items()}

    def strip(self, variables: Mapping[str, Any], shown: int) -> UInt8[np.ndarray, "H W 3"]:
        """The first pictures, one below the other: with a hole, filled, and as they are."""
        count = min(shown, self.count)
        shares: list[list[np.ndarray]] = []
        for batch in self._batches(count):
            _, pictures = self._compiled(variables["params"][GENERATOR], batch)
            shares.append(
                [multihost_utils.process_allgather(each, tiled=True) for each in pictures]
            )
        originals, masks, filled = (
            np.concatenate(own)[:count] for own in zip(*shares, strict=True)
        )
        return side_by_side(originals, masks, filled)

    def _batches(self, count: int) -> Any:
        size = -(-self.batch_size // self.mesh.size) * self.mesh.size
        share = Share(jax.process_index(), jax.process_count())
        batches = evaluation_batches(
            self.inputs, count, batch_size=size, share=share, loading=self.loading
        )
        for batch in batches:
            arrays = {"image": batch["image"], "position": batch["index"]}
            if "hole" in batch:
                arrays["hole"] = batch["hole"]
            yield sharding.place_batch(arrays, self.mesh)

    @functools.cached_property
    def _compiled(self) -> Callable[..., Any]:
        whole, parts = sharding.replicated(self.mesh), sharding.split(self.mesh)
        return barrier.jit(self._fill, in_shardings=(whole, parts), out_shardings=parts)

    def _fill(self, params: Any, batch: Mapping[str, jax.Array]) -> tuple[Any, Any]:
        """Scores [B] by name; originals, masks and filled pictures, uint8 and bool."""
        prepared = self.players.prepare(batch, rng.stream(jax.random.key(HOLES_KEY), "validation"))
        made = self.players.generate(params, prepared)
        pictures, masks = prepared["image"], prepared["mask"]
        filled = as_bytes(composite(made.refined, pictures, masks))
        holes = masks[..., 0] > 0.5
        found = restoration(batch["image"], filled, holes)
        scores = {name: getattr(found, field) for name, field in NAMES.items()}
        return scores, (batch["image"], holes, filled)
