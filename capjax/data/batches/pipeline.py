"""Batches of images and captions as NumPy arrays, loaded ahead by Grain in threads or processes.

A training batch holds, for B captions of this process:
  image [B H W 3] uint8, of clips [B F H W 3], or cached features [B F P D]: what the inputs give
    for each caption's image or clip;
  tokens [B T] int32: words, end token included, then padding; T is the longest caption of the
    *global* batch rounded up, so that few shapes are compiled and all processes agree;
  lengths [B] int32: tokens of each caption, end token included;
  id [B] int32: number of the caption in its split, the same in every epoch and process;
  replaced [B] int32: id of the caption whose place it took because its image cannot be read, else
    -1. The next row of the global batch whose image can be read stands in, from the first one
    again after the last: the same one whatever the number of processes.
An evaluation batch holds the inputs' arrays, index [B] int32 (number of the image) and
mask [B] bool (False for the rows that only fill up the last batch).
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from capjax.data.batches.loading import Batch, Loading, Stream
from capjax.data.batches.order import SampleOrder
from capjax.data.batches.stand_ins import stand_ins
from capjax.data.pictures.images import UnreadableFileError
from capjax.text.protocol import Text

Inputs = Callable[[np.ndarray], Batch]
"""Arrays, by name, of the images with the given numbers [B]. Must be picklable for workers."""

ByWord = Callable[[np.ndarray, int], Batch]
"""Arrays [B T …], by name, of the captions with the given numbers [B] padded to so many tokens T.
Must be picklable too."""

ENDLESS = 2**31 - 1
LENGTH_MULTIPLE = 4
"""T of a training batch is a multiple of this, unless told otherwise."""


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionSamples:
    """Every (image, caption) pair of a split, encoded; the id of a sample is its row.

    Attributes:
      image: [N] int32 number of the image.
      tokens: ids of all captions, one after the other, end tokens included.
      starts: [N + 1] int64 where each caption starts in `tokens`.
      sentence: [N] int32 which of its image's captions each one is.
    """

    image: np.ndarray
    tokens: np.ndarray
    starts: np.ndarray
    sentence: np.ndarray

    @classmethod
    def build(
        cls, captions: Iterable[Sequence[str]], text: Text, *, max_length: int | None = None
    ) -> "CaptionSamples":
        """Samples of the captions of each image, in order.

        A caption without a single word is left out; one longer than `max_length` tokens (end
        token included) is cut.
        """
        images, places, encoded = [], [], []
        for number, sentences in enumerate(captions):
            for place, sentence in enumerate(sentences):
                ids = text.encode(sentence, max_length)
                if len(ids) > 1:
                    images.append(number)
                    places.append(place)
                    encoded.append(np.array(ids, np.int32))
        if not encoded:
            raise ValueError("no captions to learn from; check the split and the caption file")
        starts = np.concatenate([[0], np.cumsum([len(ids) for ids in encoded])])
        return cls(
            np.array(images, np.int32),
            np.concatenate(encoded),
            starts.astype(np.int64),
            np.array(places, np.int32),
        )

    def __len__(self) -> int:
        return len(self.image)

    def lengths_of(self, samples: np.ndarray) -> np.ndarray:
        """Tokens [B] int32 of the given samples, end token included."""
        return (self.starts[samples + 1] - self.starts[samples]).astype(np.int32)

    def padded(self, samples: np.ndarray, *, width: int, pad: int) -> np.ndarray:
        """Tokens [B width] int32 of the given samples."""
        tokens = np.full((len(samples), width), pad, np.int32)
        for row, sample in enumerate(samples):
            ids = self.tokens[self.starts[sample] : self.starts[sample + 1]]
            tokens[row, : len(ids)] = ids
        return tokens


@dataclasses.dataclass(frozen=True)
class Share:
    """Which part of every global batch this process loads: slice `index` of `count`."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(f"process {self.index} of {self.count} does not exist")

    def of(self, batch: np.ndarray) -> np.ndarray:
        """This process's rows of a global batch."""
        if len(batch) % self.count:
            raise ValueError(
                f"a global batch of {len(batch)} does not divide over {self.count} processes; "
                f"choose a multiple of {self.count}"
            )
        own = len(batch) // self.count
        return batch[self.index * own : (self.index + 1) * own]


@dataclasses.dataclass(frozen=True, eq=False)
class _TrainingBatch:
    """Loads this process's share of a global batch; picklable, and no JAX in it."""

    samples: CaptionSamples
    inputs: Inputs
    order: SampleOrder
    share: Share
    multiple: int
    pad: int
    by_word: ByWord | None

    def __call__(self, step: int) -> Batch:
        batch = self.order.batch(step)
        longest = int(self.samples.lengths_of(batch).max())
        own, replaced = self.share.of(batch), np.full(len(batch) // self.share.count, -1, np.int32)
        try:
            arrays = self.inputs(self.samples.image[own])
        except UnreadableFileError:
            wanted, own = own, self._readable(batch)
            replaced = np.where(own == wanted, -1, wanted).astype(np.int32)
            arrays = self.inputs(self.samples.image[own])
        width = -(-longest // self.multiple) * self.multiple
        return {
            **arrays,
            **({} if self.by_word is None else self.by_word(own, width)),
            "tokens": self.samples.padded(own, width=width, pad=self.pad),
            "lengths": self.samples.lengths_of(own),
            "id": own.astype(np.int32),
            "replaced": replaced,
        }

    def _readable(self, batch: np.ndarray) -> np.ndarray:
        """This process's rows of a global batch, each the next one whose image can be read."""
        rows = self.share.of(np.arange(len(batch)))
        images = self.samples.image[batch]
        return batch[stand_ins(images, rows, lambda image: self.inputs(np.array([image])))]


def training_batches(
    samples: CaptionSamples,
    inputs: Inputs,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    stop: int = ENDLESS,
    share: Share = Share(),  # noqa: B008  frozen
    loading: Loading | None = None,
    group_by_length: bool = False,
    length_multiple: int = LENGTH_MULTIPLE,
    pad: int = 0,
    by_word: ByWord | None = None,
) -> Stream:
    """Shuffled batches of global steps `start` to `stop - 1`; see `order` for what comes when.

    Args:
      samples: the captions.
      inputs: arrays of images by number.
      batch_size: captions of a global batch, over all processes.
      seed: of the shuffle.
      start: the first step; to resume, the number of batches already used.
      share: this process's part.
      loading: threads or worker processes.
      group_by_length: whether captions of (nearly always) one length make a batch.
      length_multiple: T is a multiple of this.
      pad: id that fills rows up.
      by_word: what else batches hold of captions; None: nothing.

    Raises:
      ValueError: a batch size that does not divide over the processes; while iterating, a batch
        none of whose images can be decoded.
    """
    order = SampleOrder(
        count=len(samples),
        batch_size=batch_size,
        seed=seed,
        lengths=samples.lengths_of(np.arange(len(samples))) if group_by_length else None,
    )
    share.of(np.zeros(batch_size))
    load = _TrainingBatch(samples, inputs, order, share, length_multiple, pad, by_word)
    return (loading or Loading()).iterate(load, start, stop)


@dataclasses.dataclass(frozen=True, eq=False)
class _EvaluationBatch:
    """Loads this process's share of the step-th batch of images in order."""

    inputs: Inputs
    count: int
    batch_size: int
    share: Share

    def __call__(self, step: int) -> Batch:
        own = self.share.of(np.arange(step * self.batch_size, (step + 1) * self.batch_size))
        index = np.minimum(own, self.count - 1).astype(np.int32)
        return {**self.inputs(index), "index": index, "mask": own < self.count}


def evaluation_batches(
    inputs: Inputs,
    count: int,
    *,
    batch_size: int,
    start: int = 0,
    share: Share = Share(),  # noqa: B008  frozen
    loading: Loading | None = None,
) -> Stream:
    """Every one of `count` images once, in order; the last batch repeats the last image.

    The first `start` batches are left out. All processes get the same number of batches, of the
    same shape.

    Raises:
      ValueError: as `training_batches`; while iterating, an image that cannot be decoded, named.
    """
    share.of(np.zeros(batch_size))
    load = _EvaluationBatch(inputs, count, batch_size, share)
    return (loading or Loading()).iterate(load, start, -(-count // batch_size))
