"""Validation scores of decoded captions."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from capjax.captioner import CaptionNet
from capjax.data.batches.pipeline import Inputs, Loading, Share, evaluation_batches
from capjax.decoding import Decoding, generate, never_written
from capjax.metrics.captions import score_captions
from capjax.metrics.meteor import Meteor
from capjax.metrics.similarity import CaptionSimilarity
from capjax.ops import barrier
from capjax.runtime.distributed import from_first
from capjax.text.protocol import Text
from capjax.train import sharding
from capjax.train.objectives.objective import batch_features


@dataclasses.dataclass(frozen=True, eq=False)
class Scorer:
    """Decodes images and compares the captions with what people wrote.

    Attributes:
      net: the captioner's modules.
      text: its words.
      grid: (h, w) of cached features.
      inputs: images or features by number.
      references: sentences of each image.
      method: of decoding.
      max_len: most tokens of a caption, end token included.
      batch_size: images decoded at once, over all devices.
      mesh: devices.
      loading: of the inputs.
      meteor: the program that the first process asks; whoever is done with the scorer closes it.
      similarity: measures "CLIP-text" too; None: not.
    """

    net: CaptionNet
    text: Text
    grid: tuple[int, int]
    inputs: Inputs
    references: Sequence[Sequence[str]]
    method: Decoding
    max_len: int
    batch_size: int
    mesh: Mesh
    loading: Loading
    meteor: Meteor = dataclasses.field(default_factory=Meteor)
    similarity: CaptionSimilarity | None = None

    @functools.cached_property
    def _compiled(self) -> Callable[..., jax.Array]:
        whole, parts = sharding.replicated(self.mesh), sharding.split(self.mesh)
        return barrier.jit(self._decode, in_shardings=(whole, parts), out_shardings=parts)

    def captions(self, variables: Mapping[str, Any], count: int) -> list[str]:
        """The best caption of each of the first `count` images."""
        size = -(-self.batch_size // self.mesh.size) * self.mesh.size
        share = Share(jax.process_index(), jax.process_count())
        batches = evaluation_batches(
            self.inputs, count, batch_size=size, share=share, loading=self.loading
        )
        rows: list[np.ndarray] = []
        for batch in batches:
            arrays = {key: value for key, value in batch.items() if key in ("image", "features")}
            tokens = self._compiled(variables, sharding.place_batch(arrays, self.mesh))
            rows.append(multihost_utils.process_allgather(tokens, tiled=True))
        return [self.text.decode(row) for row in np.concatenate(rows)[:count]]

    def score(self, variables: Mapping[str, Any], *, images: int = 0) -> dict[str, Any]:
        """Scores of `capjax.metrics.score_captions` and "CLIP-text", by the first process for all.

        Args:
          variables: of the net.
          images: how many of the first images, 0 for all.
        """
        count = min(images, len(self.references)) if images else len(self.references)
        written = self.captions(variables, count)
        references = {number: self.references[number] for number in range(count)}

        def measure() -> dict[str, Any]:
            scores = score_captions(references, dict(enumerate(written)), meteor=self.meteor)
            if self.similarity is not None:
                scores["CLIP-text"] = self.similarity.score(written)
            return scores

        return from_first(measure, what="score the captions")

    def _decode(self, variables: Mapping[str, Any], batch: Mapping[str, jax.Array]) -> jax.Array:
        """Tokens [B T] of the best caption, end tokens from its end on."""
        features = batch_features(self.net, variables, batch, self.grid)
        decoded = generate(
            self.net,
            variables,
            features,
            self.method,
            eos=self.text.eos,
            max_len=self.max_len,
            suppress=never_written(self.text),
        )
        inside = jnp.arange(self.max_len)[None] < decoded.lengths[:, :1]
        return jnp.where(inside, decoded.tokens[:, 0], self.text.eos)
