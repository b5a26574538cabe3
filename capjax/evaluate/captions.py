"""Captions a set of images and scores them: the first half of `python -m capjax.evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from capjax.captioner import Captioner
from capjax.data.batches.pipeline import evaluation_batches
from capjax.data.captions.origin import drawn_by
from capjax.data.captions.records import require_images
from capjax.data.captions.splits import UNSPLIT
from capjax.data.inputs import file_inputs
from capjax.data.sources.sources import CaptionSet, Record, read_captions
from capjax.decoding import Decoding
from capjax.decoding.captions import caption_batch
from capjax.metrics.captions import METRICS, score_captions
from capjax.metrics.card import metric_card
from capjax.metrics.similarity import CaptionSimilarity
from capjax.runtime.version import code_version
from capjax.studies.doubt.reranking import Reranker
from capjax.types import Caption


def read_records(
    captioner: Captioner, captions: str, images: Path | None, split: str | None
) -> CaptionSet:
    """Reads the images to score, with their references.

    A file without splits that the captioner was trained on is divided as it was then.

    Args:
      captioner: the model.
      captions: file of any known format; several with commas.
      images: folder that the file's image names start from; None: the usual places beside it.
      split: which of several to score; "all" for every image.

    Raises:
      OSError, ValueError: files are missing or damaged, or hold several splits and none is named.
    """
    found = read_captions(captions, images, check_images=False)
    draw = drawn_by(captioner.card, found.files)
    found = found if draw is None else found.divided(draw)
    found = found if split in (None, UNSPLIT) else found.select(split)
    require_images(found)
    if split is None and len(found.splits) > 1:
        there = ", ".join(f"{name} ({count[0]} images)" for name, count in found.splits.items())
        raise ValueError(f"{captions} holds several splits: {there}; pass --split")
    return found


def score_records(
    captioner: Captioner,
    records: Sequence[Record],
    captions: Sequence[Caption],
    *,
    decoding: Decoding,
    max_len: int,
    metrics: Sequence[str] = METRICS,
    similarity: CaptionSimilarity | None = None,
) -> dict[str, Any]:
    """Scores captions: `score_captions`, `unfinished` (captions that `max_len` cut) and `card`.

    Args:
      captioner: the model.
      records: images with their references. Those without any are not scored, which a note says;
        at least one has some.
      captions: of each record.
      decoding, max_len: how they were written; `max_len` counts the end token.
      metrics: which of `capjax.metrics.captions.METRICS`.
      similarity: another score, over the records with references; its `summary` is in
        `similarity`, with the name of the encoder.
    """
    references = {record.key: record.captions for record in records if record.captions}
    scored = {
        record.key: caption
        for record, caption in zip(records, captions, strict=True)
        if record.captions
    }
    hypotheses = {key: caption.text for key, caption in scored.items()}
    scores = score_captions(references, hypotheses, metrics=metrics)
    if len(references) < len(records):
        bare = len(records) - len(references)
        scores["notes"].append(
            f"{bare} of {len(records)} images have no reference: they are captioned and not scored"
        )
    if similarity is not None:
        finished = [caption.finished for caption in scored.values()]
        found = similarity.summary(list(hypotheses.values()), finished)
        scores[similarity.name] = found["mean"]
        scores["similarity"] = {"score": similarity.name, "encoder": similarity.encoder.name}
        scores["similarity"] |= found
    scores["unfinished"] = sum(not caption.finished for caption in captions)
    scores["card"] = metric_card(
        split=", ".join(dict.fromkeys(record.split for record in records)),
        images=len(references),
        references=sum(map(len, references.values())),
        decoding=decoding,
        max_len=max_len,
        model_hash=captioner.hash,
        code=code_version(),
    )
    if similarity is not None:
        scores["card"]["similarity"] = similarity.encoder.name
    return scores


def caption_records(
    captioner: Captioner,
    records: Sequence[Record],
    *,
    decoding: Decoding,
    max_len: int,
    batch_size: int,
    reranker: Reranker | None = None,
) -> list[Caption]:
    """Writes the caption of each record, in order, with a progress bar; files are read ahead.

    Args:
      captioner: the model.
      records: images or clips.
      decoding, max_len: how captions are written.
      batch_size: of them at once; changes no caption.
      reranker: chooses among the candidates of the search.
    """
    captions: list[Caption] = []
    inputs = file_inputs(records, captioner.preprocessing)
    with tqdm(total=len(records), desc="captions", unit="image", disable=None) as progress:
        for batch in evaluation_batches(inputs, len(records), batch_size=batch_size):
            images, count = batch["image"], int(batch["mask"].sum())
            if reranker is None:
                _, found = caption_batch(captioner, images, decoding=decoding, max_len=max_len)
                captions += found[:count]
            else:
                captions += reranker.captions(images, count)
            progress.update(count)
    return captions


def coco_results(records: Sequence[Record], captions: Sequence[Caption]) -> list[dict[str, Any]]:
    """Captions in COCO's results format, which other evaluation code reads."""
    return [
        {"image_id": record.image_id, "caption": caption.text}
        for record, caption in zip(records, captions, strict=True)
    ]
