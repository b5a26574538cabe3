"""The arrays and small host objects that every part of capjax exchanges.

Dimension letters, here and in every signature: B batch, H W image, h w grid, F frames (1 for an
image), P positions of a frame (h * w, row by row), E off-grid tokens, D features, T tokens,
V vocabulary, K beams, N targets.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

NO_TOKEN = -1
"""The "previous token" of the first step: each decoder turns it into its own first input."""

Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(images [B H W 3] uint8, masks [B H W] bool, True = remove) -> images, filled where masked."""


@struct.dataclass
class Features:
    """What an encoder saw, as a grid of descriptors; the only thing a decoder is given.

    Attributes:
      positions: [B F P D] descriptors, row by row.
      extra: [B E D] descriptors that lie on no grid cell (class tokens and the like).
      valid, grid: [B F P] bool, False for padding; and (h, w), with h * w = P, static.
      attentions: [B F L H S S] of an encoder whose L layers mix its S tokens (off-grid ones, then
        the P positions): how much of each token (last axis) each one read; None elsewhere, and
        where nobody asked for it.
      stages: name -> [B F h w D], the map after a stage of the encoder, on a grid of its own and
        without off-grid tokens; only the stages that were asked for (`CaptionNet.keeping`).
    """

    positions: Float[Array, "B F P D"]
    extra: Float[Array, "B E D"]
    valid: Bool[Array, "B F P"]
    grid: tuple[int, int] = struct.field(pytree_node=False)
    attentions: Float[Array, "B F L H S S"] | None = None
    stages: Mapping[str, Float[Array, "B F h w D"]] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_grid(cls, maps: Float[Array, "B *F h w D"]) -> "Features":
        """Features of a full feature map [B h w D], or of one map a frame [B F h w D]."""
        if maps.ndim == 4:
            maps = maps[:, None]
        if maps.ndim != 5:
            raise ValueError(f"got maps of shape {maps.shape}; expected [B h w D] or [B F h w D]")
        batch, frames, rows, columns, depth = maps.shape
        return cls(
            positions=maps.reshape(batch, frames, rows * columns, depth),
            extra=jnp.zeros((batch, 0, depth), jnp.asarray(maps).dtype),
            valid=jnp.ones((batch, frames, rows * columns), bool),
            grid=(rows, columns),
        )

    @property
    def pooled(self) -> Float[Array, "B D"]:
        """Mean descriptor over valid positions, in float32 or wider; derived, never stored, so
        that gradients see every path."""
        dtype = jnp.promote_types(self.positions.dtype, jnp.float32)
        weight = self.valid[..., None].astype(dtype)
        total = jnp.sum(self.positions.astype(dtype) * weight, axis=(1, 2))
        return total / jnp.maximum(jnp.sum(weight, axis=(1, 2)), 1.0)

    def frame_means(self) -> "Features":
        """One descriptor a frame, the mean over its valid positions [B F 1 D]; `extra` stays.

        What a decoder that reads whole frames is given. In float32 or wider.
        """
        dtype = jnp.promote_types(self.positions.dtype, jnp.float32)
        weight = self.valid[..., None].astype(dtype)
        total = jnp.sum(self.positions.astype(dtype) * weight, axis=2, keepdims=True)
        return Features(
            positions=total / jnp.maximum(jnp.sum(weight, axis=2, keepdims=True), 1.0),
            extra=self.extra,
            valid=jnp.any(self.valid, axis=2, keepdims=True),
            grid=(1, 1),
        )

    def as_clips(self, frames: int) -> "Features":
        """Features of B * F images as those of B clips of `frames` frames; extra [B F*E D]."""
        images, _, _, depth = self.positions.shape
        clips = images // frames

        def split(leaf: Array) -> Array:
            return leaf.reshape(clips, frames, *leaf.shape[2:])

        return Features(
            positions=split(self.positions),
            extra=self.extra.reshape(clips, frames * self.extra.shape[1], depth),
            valid=split(self.valid),
            grid=self.grid,
            attentions=jax.tree.map(split, self.attentions),
            stages=jax.tree.map(split, self.stages),
        )

    def only(self, frame: int | Array, position: int | Array) -> "Features":
        """The features reduced to one position (indices may be traced); `extra` is dropped.

        The pooled vector, and with it the decoder's initial state, then comes from that position
        too: nothing global is left.
        """
        index = (jnp.asarray(frame), jnp.asarray(position))

        def take(array: Array) -> Array:
            frame_axis = jax.lax.dynamic_index_in_dim(array, index[0], axis=1)
            return jax.lax.dynamic_index_in_dim(frame_axis, index[1], axis=2)

        return Features(
            positions=take(self.positions),
            extra=self.extra[:, :0],
            valid=take(self.valid),
            grid=(1, 1),
        )


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How a photograph or a clip becomes an encoder's input; saved with the model, nowhere else.

    Attributes:
      size: (H, W) in pixels that the encoder sees.
      resize: "squash" resizes both sides to `size`; "crop" resizes the shorter side to `shorter`
        and takes the central `size`.
      shorter: shorter side in pixels before the crop; only for "crop".
      resample: "bilinear" or "bicubic", antialiased (Pillow's filters).
      mean, std: per RGB channel on the 0..255 scale; the encoder sees (pixel - mean) / std.
      frames: 0 for images; for clips the number of frames, evenly spread over each clip.
    """

    size: tuple[int, int]
    resize: Literal["squash", "crop"] = "squash"
    shorter: int | None = None
    resample: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    frames: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("size", int), ("mean", float), ("std", float)):
            object.__setattr__(self, name, tuple(kind(value) for value in getattr(self, name)))
        if self.frames < 0:
            raise ValueError(f"got frames={self.frames}; expected 0 for images, or 1 or more")
        if self.resize not in ("squash", "crop"):
            raise ValueError(f"unknown resize {self.resize!r}; choose 'squash' or 'crop'")
        if self.resample not in ("bilinear", "bicubic"):
            raise ValueError(f"unknown resample {self.resample!r}; choose 'bilinear' or 'bicubic'")
        if self.resize == "crop" and (self.shorter is None or self.shorter < max(self.size)):
            raise ValueError(
                f"resize='crop' with size={self.size} needs shorter >= {max(self.size)}; "
                f"got shorter={self.shorter}"
            )

    def geometry(self, original: tuple[int, int], grid: tuple[int, int]) -> "Geometry":
        """Where the grid lies on an original image of (height, width) pixels."""
        height, width = original
        if self.resize == "squash":
            resized = self.size
        else:
            assert self.shorter is not None  # checked in __post_init__
            scale = self.shorter / min(height, width)
            resized = (
                max(self.size[0], round(height * scale)),
                max(self.size[1], round(width * scale)),
            )
        top = (resized[0] - self.size[0]) // 2
        left = (resized[1] - self.size[1]) // 2
        return Geometry(original, resized, (top, left, *self.size), grid)


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The only code that maps grid cells to pixels of the original image and back.

    Pixel coordinates are continuous, x to the right and y down: pixel (row, column) covers
    [column, column + 1) x [row, row + 1).

    Attributes:
      original: (height, width) of the photograph, upright.
      resized: (height, width) after resizing.
      crop: (top, left, height, width) of the encoder's input within the resized image.
      grid: (h, w) cells that divide the crop evenly.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    crop: tuple[int, int, int, int]
    grid: tuple[int, int]

    def _to_grid(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        top, left, height, width = self.crop
        row = (y * self.resized[0] / self.original[0] - top) * self.grid[0] / height
        column = (x * self.resized[1] / self.original[1] - left) * self.grid[1] / width
        return row, column

    def cell_box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) of a grid cell, in pixels of the original image."""
        if not (0 <= row < self.grid[0] and 0 <= column < self.grid[1]):
            raise ValueError(f"cell ({row}, {column}) is outside the grid {self.grid}")
        top, left, height, width = self.crop
        scale_y = self.original[0] / self.resized[0]
        scale_x = self.original[1] / self.resized[1]
        return (
            (left + column * width / self.grid[1]) * scale_x,
            (top + row * height / self.grid[0]) * scale_y,
            (left + (column + 1) * width / self.grid[1]) * scale_x,
            (top + (row + 1) * height / self.grid[0]) * scale_y,
        )

    def pixel_to_cell(self, x: float, y: float) -> tuple[int, int] | None:
        """(row, column) of the cell that covers a point, or None where the encoder saw nothing."""
        row, column = self._to_grid(np.asarray(x), np.asarray(y))
        cell = (math.floor(float(row)), math.floor(float(column)))
        inside = 0 <= cell[0] < self.grid[0] and 0 <= cell[1] < self.grid[1]
        return cell if inside else None

    def grid_coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """(rows [H], columns [W]): the grid coordinate of every original pixel's centre.

        Integers are cell centres, so that bilinear interpolation at these coordinates draws a map
        over the photograph. Values below -0.5 or above h - 0.5 (w - 0.5) lie outside the crop.
        """
        row, _ = self._to_grid(np.zeros(self.original[0]), np.arange(self.original[0]) + 0.5)
        _, column = self._to_grid(np.arange(self.original[1]) + 0.5, np.zeros(self.original[1]))
        return row - 0.5, column - 0.5

    def to_json(self) -> dict[str, list[int]]:
        """Plain lists, for `Geometry.from_json`."""
        return {name: list(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Sequence[int]]) -> "Geometry":
        """The inverse of `to_json`."""
        return cls(**{name: tuple(entry) for name, entry in value.items()})  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Caption:
    """One decoded sentence of one image.

    Attributes:
      text, words: the sentence, and its words without the end token.
      tokens: ids, end token included when `finished`.
      log_probs: natural-log probability of each token, same length as `tokens`.
      score, rank: what the decoder ranked it by; its place among the search's captions, from 0.
      finished: False when the length limit cut it.
      doubts: of its object words, in order; None where nobody asked.
    """

    text: str
    words: tuple[str, ...]
    tokens: tuple[int, ...]
    log_probs: np.ndarray
    score: float
    finished: bool
    rank: int = 0
    doubts: "tuple[WordDoubt, ...] | None" = None


@dataclasses.dataclass(frozen=True)
class WordDoubt:
    """How far an object word of a caption may be believed.

    Attributes:
      start, end, word: words [start, end) of the caption, and what they are.
      classes, hallucinated: of objects that they may name; probability that none is there.
      reason, signals: why, in words, and from which numbers (`capjax.studies.doubt.signals`).
    """

    start: int
    end: int
    word: str
    classes: tuple[str, ...]
    hallucinated: float
    reason: str
    signals: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SentenceTarget:
    """What was explained of a sentence beside its words and phrases.

    Attributes:
      label: "every “dog”", "dog rather than cat", "the whole sentence".
      words: which words of the sentence it is about.
      score: its log-probability, of a contrast minus that of the alternative at the same step.
      contrast: whether it tells a word from an alternative.
      note: what a reader must know of it; may be empty.
    """

    label: str
    words: tuple[int, ...]
    score: float
    contrast: bool = False
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Maps of one method for one image or clip: raw and signed, on a grid of its own.

    Attributes:
      maps: [N F h w] float32, one map a word.
      words: the N words they belong to.
      word_spans: (start, end) token positions of each word.
      score: [N] the log-probability of each word, whatever the measure.
      method: its name, with the options that tell it from another of the same run.
      geometry: where the grid lies on the photograph, or on each frame.
      flags: what a reader must know, e.g. {"degenerate": True}; what methods say of `phrases` and
        `targets` is under "of_phrases" and "of_targets".
      frame_maps: [N F] relevance of each whole frame; None for images.
      phrases: (first word, last word + 1) of each of M phrases asked about.
      phrase_maps: [M F h w] one map a phrase: explained as a whole, before any scaling; None
        without phrases.
      unit: of the maps' exponentials, where maps are logarithms; those are drawn then.
      error: [N F h w] standard error of each value; None for a method that draws nothing.
      settings: the method's options.
      measure: what the maps explain: "log_prob", "logit" or "prob"; None of a method that shows
        what was read, whatever is asked.
      targets: what else was explained of the sentence: keywords, contrasts, all of it.
      target_maps: [M F h w] one map each; None without targets.
      target_frames: [M F] as `frame_maps`.
      lacking: labels of what was asked about words that the sentence has not.
    """

    maps: np.ndarray
    words: tuple[str, ...]
    word_spans: tuple[tuple[int, int], ...]
    score: np.ndarray
    method: str
    geometry: Geometry
    flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    frame_maps: np.ndarray | None = None
    phrases: tuple[tuple[int, int], ...] = ()
    phrase_maps: np.ndarray | None = None
    unit: str = ""
    error: np.ndarray | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    measure: str | None = None
    targets: tuple[SentenceTarget, ...] = ()
    target_maps: np.ndarray | None = None
    target_frames: np.ndarray | None = None
    lacking: tuple[str, ...] = ()
