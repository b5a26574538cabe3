"""Signals of the object words of many captions, and whether they are hallucinated."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from tqdm import tqdm

from capjax.captioner import Captioner
from capjax.data.batches.pipeline import evaluation_batches
from capjax.data.boxes.grounded import BoxSource
from capjax.data.captions.records import Record
from capjax.data.inputs import file_inputs
from capjax.decoding import Decoding
from capjax.decoding.captions import see
from capjax.evaluate.grounding import Fit
from capjax.ops.devices import mesh_of, pad_rows
from capjax.studies.doubt.object_names import is_hallucinated
from capjax.studies.doubt.reranking import candidates_memory
from capjax.studies.doubt.signals import SAMPLES, USUAL, Doubtable, read_signals
from capjax.types import Caption

FOLDS = 5


@dataclasses.dataclass(frozen=True)
class Judged:
    """Captions of photographs of which it is known what they show.

    Attributes:
      keys: of the photographs.
      captions: with the signals of their object words.
      truth: of each caption, which of its object words are hallucinated.
      left_out: photographs whose objects the boxes do not know.
    """

    keys: tuple[str, ...]
    captions: tuple[Doubtable, ...]
    truth: tuple[Bool[np.ndarray, " N"], ...]
    left_out: int

    @functools.cached_property
    def folds(self) -> list[int]:
        """Of each photograph one of `FOLDS`, by its key; its order means nothing."""
        order = sorted(range(len(self.keys)), key=lambda at: digest(self.keys[at]))
        place = {at: rank % FOLDS for rank, at in enumerate(order)}
        return [place[at] for at in range(len(order))]


def judge(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    source: BoxSource,
    *,
    decoding: Decoding,
    max_len: int,
    fit: Fit,
    usable: float,
    samples: int = SAMPLES,
    signals: Sequence[str] = USUAL,
) -> Judged:
    """Reads the signals of all captions, with a progress bar.

    Args:
      captioner: the model.
      records: images with references.
      captions: of each record.
      source: boxes of the images.
      decoding, max_len: how captions were written.
      fit: says how many images are read at once; changes nothing else.
      usable: bytes of memory, as of `signals_memory`.
      samples: captions sampled from each image.
      signals: to read, see `read_signals`.

    Raises:
      ValueError: none of the images has boxes.
    """
    known = with_boxes(records, source)
    reading: dict[str, Any] = {"max_len": max_len, "samples": samples, "signals": signals}
    need = functools.partial(
        candidates_memory, captioner, decoding=decoding, usable=usable, **reading
    )
    said = {record.key: caption for record, caption in zip(records, captions, strict=True)}
    found: list[Doubtable] = []
    for images, count in boxed_batches(captioner, known, fit, need):
        own = [[said[record.key]] for record in known[len(found) : len(found) + count]]
        mesh = mesh_of(len(images))
        images = pad_rows(images, mesh)
        features = see(captioner.net, captioner.placed(mesh), images, mesh=mesh)
        read = read_signals(captioner, images, features, own, source.words, **reading)
        found += [one for (one,) in read]
    truth = []
    for record, one in zip(known, found, strict=True):
        there = source.classes(record)
        truth.append(np.array([is_hallucinated(name, there) for name in one.names], bool))
    keys = tuple(record.key for record in known)
    return Judged(keys, tuple(found), tuple(truth), len(records) - len(known))


def with_boxes(records: Sequence[Record], source: BoxSource) -> list[Record]:
    """Those of which it is known what they show.

    Raises:
      ValueError: none is.
    """
    known = [record for record in records if source.size(record) is not None]
    if not known:
        raise ValueError(
            f"the boxes know none of these {len(records)} images; they belong together by file name"
        )
    return known


def boxed_batches(
    captioner: Captioner, records: Sequence[Record], fit: Fit, need: Callable[[int], float]
) -> Iterator[tuple[UInt8[np.ndarray, "B H W 3"], int]]:
    """Prepared images batch by batch and how many are no padding, with a progress bar.

    Args:
      captioner: what sees them.
      records: the images.
      fit, need: say how many are done at once.
    """
    inputs = file_inputs(records, captioner.preprocessing)
    batch_size = fit(len(records), need)
    with tqdm(total=len(records), desc="doubts", unit="image", disable=None) as progress:
        for batch in evaluation_batches(inputs, len(records), batch_size=batch_size):
            count = int(batch["mask"].sum())
            yield batch["image"], count
            progress.update(count)


def digest(key: str) -> str:
    """Of a photograph's key, to say in doubt.json what was seen."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]
