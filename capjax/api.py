"""The Python door: load a captioner, caption images or clips, see where every word comes from."""

import dataclasses
import functools
import numbers
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from capjax.captioner import Captioner
from capjax.data.pictures.given import PictureLike, prepared, several
from capjax.decoding import Decoding, default_decoding
from capjax.decoding.captions import caption_batch
from capjax.experiment.opening.named import load
from capjax.explainers.batch import check_methods, explain_batch
from capjax.explainers.choosing import Wanted
from capjax.explainers.contract import InParts
from capjax.explainers.language.program import check_language
from capjax.explainers.programs import Watch
from capjax.explainers.request import Measure
from capjax.explainers.targets import Questions
from capjax.explainers.wording import (
    LEAST_TOKENS,
    Unknown,
    Wording,
    asked_of_all,
    warn_of_lacking,
)
from capjax.runtime.notebook_bar import NotebookBar
from capjax.studies.contract import Finding, Study, Subject, by_name, checked
from capjax.studies.counterfactual.own import OwnCounterfactual
from capjax.studies.doubt.asking import doubting, with_doubts
from capjax.studies.doubt.doubter import kept_doubt
from capjax.studies.doubt.reranking import Reranker
from capjax.types import Caption, Fill, Preprocessing
from capjax.viz.explained_images import ExplainedImage, ExplainedImages
from capjax.viz.findings import with_drawn

__all__ = ["caption", "counterfactual", "explain", "load", "pad_batch"]


def caption(
    captioner: Captioner,
    images: PictureLike | Sequence[PictureLike],
    *,
    decoding: Decoding | None = None,
    max_len: int | None = None,
    batch_size: int = 16,
    doubt: bool = False,
    rerank: str | None = None,
    rerank_weight: float | None = None,
) -> list[Caption]:
    """One caption an image.

    Args:
      captioner: from `load`.
      images: one or many: paths, Pillow images, contents of files, or arrays [H W 3] or [B H W 3],
        uint8 or floats from 0 to 1, also with transparency or grey; for a captioner of clips paths
        of clips, or arrays of their frames [N H W 3] or [B N H W 3].
      decoding: `Greedy()`, `Beam(...)` or `HuggingFaceBeam(...)`; default: what the captioner was
        validated with, by its card, else `Beam(3)`.
      max_len: most tokens, the end token included; default: what the card says, else 25.
      batch_size: images decoded at once, of which a clip counts as its frames; changes no caption.
      doubt: say of each object word how probably it is hallucinated, and why (`Caption.doubts`).
      rerank: "doubt": of the captions that the beam search ends with take the one with the largest
        score - `rerank_weight` * expected hallucinated object words; `Caption.rank` says which.
      rerank_weight: default 0.2; 0 changes nothing.

    Raises:
      ValueError: an argument of another kind, or an image that cannot be read; the text names it.
        With `doubt` or `rerank`: nothing was fitted for this captioner; the text says how to. With
        `rerank`: the decoding ends with one caption.
    """
    _check_arguments(captioner, decoding, max_len, batch_size)
    kept = kept_doubt(captioner) if doubt else None
    captions: list[Caption] = []
    usual, longest = default_decoding(captioner)
    decoding, max_len = decoding or usual, max_len or longest
    reranker = Reranker.of(captioner, decoding, max_len, rerank, rerank_weight)
    doubts = doubting(captioner, kept, max_len=max_len)
    pictures = several(images, clips=captioner.preprocessing.frames > 0)
    for ready, _ in _batches(captioner, pictures, batch_size):
        batch, count = pad_batch(ready, captioner.at_once(batch_size)), len(ready)
        if reranker is not None:
            features, chosen = reranker.write(batch, count)
            found = [one.caption for one in chosen]
            if kept is not None:
                found = with_doubts(captioner, kept, batch, features, chosen)
        else:
            features, found = caption_batch(captioner, batch, decoding=decoding, max_len=max_len)
            found = found[:count]
            if doubts is not None:
                found = doubts(batch, features, found)
        captions += found
    return captions


def explain(
    captioner: Captioner,
    images: PictureLike | Sequence[PictureLike],
    *,
    methods: Wanted | Sequence[Wanted] = ("attention",),
    query: str | Sequence[str] | None = None,
    unknown_words: Unknown = "token",
    contrast: str | Sequence[str] | None = None,
    keyword: str | Sequence[str] | None = None,
    whole_sentence: bool = False,
    measure: Measure | None = None,
    decoding: Decoding | None = None,
    max_len: int | None = None,
    batch_size: int = 16,
    watch: Watch | None = None,
    studies: Sequence[Study] = (),
    visual_information: bool = True,
    linguistic: str | Sequence[str] = (),
    doubt: bool = False,
) -> ExplainedImages:
    """Captions with a map for every word; the result draws itself in a notebook.

    Args:
      captioner: from `load`.
      images: one or many: paths, Pillow images, contents of files, or arrays [H W 3] or [B H W 3],
        uint8 or floats from 0 to 1, also with transparency or grey; for a captioner of clips paths
        of clips, or arrays of their frames [N H W 3] or [B N H W 3].
      methods: one or several: names of `capjax.explainers.METHODS`, names with options as in
        "ig@steps=64", or methods such as `capjax.explainers.IntegratedGradients(steps=64)`.
      query: explain this sentence, or these, for every image instead of each image's caption;
        `[a small boy] in [a hat]` marks phrases that get a map each.
      unknown_words: how the captioner reads words of a query outside its vocabulary: as its unknown
        word ("token") or not at all ("skip"). They stay in the result and are flagged.
      contrast: "dog:cat", or several: why *dog* and not *cat*, wherever the sentence says *dog*;
        see `explainers.targets.Questions`. A sentence without the word has no such map: that is
        warned about, and `Explanation.lacking` says so.
      keyword: "dog", or several: all places of a sentence that say *dog*, as one map.
      whole_sentence: one map of the whole sentence too, its end included.
      measure: what maps explain, "log_prob", "logit" or "prob"; default: each method's own.
      decoding, max_len, batch_size: as `caption`.
      watch: called with a method, its parts done and its parts in all, as work goes on; what it
        raises ends the work. The maps are the same with and without. A notebook shows a bar.
      studies: to run on the images too; see `capjax.studies`.
      visual_information: say how many bits of each word come from the image; see
        `capjax.explainers.language`.
      linguistic: ways to find what each word owes to each word before it, "leave_one_out" or
        "gradient", or both.
      doubt: as `caption`; the report marks doubtful words.

    Returns:
      One result an image, or one an image and query, image by image.

    Raises:
      ValueError: an argument of another kind, an unknown method, a method that cannot contrast
        where it has to, an image that cannot be read, a query without words, or a word to explain
        that the captioner does not know or no query has.
    """
    _check_arguments(captioner, decoding, max_len, batch_size)
    if unknown_words not in get_args(Unknown):
        raise ValueError(
            f"unknown_words is {unknown_words!r}; choose one of: {', '.join(get_args(Unknown))}"
        )
    questions = Questions.of(
        captioner.text, keywords=keyword, contrasts=contrast, sentence=whole_sentence
    )
    chosen = check_methods(
        captioner, methods or (), measure=measure, contrasts=bool(questions.contrasts)
    )
    language = check_language(captioner, linguistic, visual_information=visual_information)
    own_studies = by_name(studies)
    for study in own_studies.values():
        study.check(captioner)
        for note in study.left_out(captioner):
            warnings.warn(f"left out: {note}", stacklevel=2)
    frames = captioner.preprocessing.frames
    pictures = several(images, clips=frames > 0)
    _check_paths(own_studies.values(), pictures)
    kept = kept_doubt(captioner) if doubt else None
    texts = [query] if query is None or isinstance(query, str) else _sentences(query)
    asked = [
        Wording.of_query(captioner, text, unknown=unknown_words)
        for text in texts
        if text is not None
    ]
    asked_of_all(asked, questions)
    results: list[ExplainedImage] = []
    usual, longest = default_decoding(captioner)
    doubts = doubting(captioner, kept, max_len=max_len or longest)
    bar = NotebookBar([next(iter(one.labels.values())) for one in chosen], len(pictures))
    in_parts = bar.shown and any(isinstance(one.method, InParts) for one in chosen)
    with bar:
        for ready, sizes in _batches(captioner, pictures, batch_size):
            shown = functools.partial(bar.reached, items=len(sizes)) if in_parts else None
            explained = explain_batch(
                captioner,
                pad_batch(ready, captioner.at_once(batch_size)),
                sizes,
                methods=chosen,
                decoding=decoding or usual,
                max_len=max_len or longest,
                queries=[asked] * len(sizes) if asked else None,
                questions=questions,
                least_tokens=min(max_len or longest, LEAST_TOKENS),
                watch=watch or shown,
                language=language,
                doubting=doubts,
            )
            for found in explained:
                number = len(results) // len(texts)
                source = pictures[number]
                for own, text in zip(found, texts, strict=True):
                    name = _name(source, number)
                    results.append(ExplainedImage(name, source, own, text, frames))
            bar.finished(len(sizes))
    warn_of_lacking([result.explained.sentence for result in results])
    return _studied(captioner, results, own_studies, len(texts))


def counterfactual(
    captioner: Captioner,
    image: PictureLike,
    *,
    masks: Any = None,
    fill: str | Fill | None = None,
    methods: Wanted | Sequence[Wanted] = ("caption_guided",),
    **options: Any,
) -> ExplainedImage:
    """What the captioner says of a photograph without each of its objects; draws itself.

    In a notebook, tap an object to see the photograph without it. `result.findings
    ["counterfactual"]` has tables of captions, distances and bits, and the pictures.

    Args:
      captioner: from `load`, of images.
      image: as `caption`, one photograph; its path where `objects` names a file or a folder, which
        know photographs by name.
      masks: of objects, True = the object, in the photograph's size: {name: [H W]}, a list of
        [H W], or [N H W]. Names that a caption may say are looked for in it.
      fill: a name of `capjax.inpaint.fills.named.FILLS`, or any (images [B H W 3] uint8, masks
        [B H W] bool) -> images.
      methods: whose maps are shown beside it.
      options: of `capjax.studies.counterfactual.study.Counterfactual`: objects, others, controls …

    Raises:
      ValueError: no masks and no objects, or an argument of another kind; the text says what to do.
    """
    study = OwnCounterfactual.of(masks, fill, **options)
    (found,) = explain(captioner, [image], methods=methods, studies=[study])
    return found


def _studied(
    captioner: Captioner, results: list[ExplainedImage], studies: Mapping[str, Study], each: int
) -> ExplainedImages:
    """The results with what studies find out about their images, of which each has `each`."""
    first = results[::each]
    subjects = [functools.partial(_subject, captioner.preprocessing, image) for image in first]
    findings: list[dict[str, Finding]] = [{} for _ in first]
    summaries = {}
    for name, study in studies.items():
        found = []
        with NotebookBar([name], len(subjects)) as bar:
            for finding in checked(study, (make() for make in subjects), captioner):
                found.append(finding)
                bar.finished(1)
        for own, finding in zip(findings, found, strict=True):
            own[name] = with_drawn(finding)
        summaries[name] = study.summarise(found)
    images = ExplainedImages(
        dataclasses.replace(image, findings=findings[index // each])
        for index, image in enumerate(results)
    )
    images.summaries = summaries
    return images


def _subject(preprocessing: Preprocessing, image: ExplainedImage) -> Subject:
    pixels, _ = prepared(image.source, preprocessing)
    return Subject(image.name, image.image, pixels, image.caption)


def pad_batch(images: Sequence[np.ndarray], batch_size: int) -> np.ndarray:
    """[B H W 3], of clips [B F H W 3]; a batch that is not full is padded to a power of two, so
    that few sizes occur."""
    size = padded_rows(len(images), batch_size)
    padding = [np.zeros_like(images[0])] * (size - len(images))
    return np.stack([*images, *padding])


def padded_rows(count: int, batch_size: int) -> int:
    """Rows of the largest batch that `pad_batch` makes of so many images."""
    return min(batch_size, 1 << (count - 1).bit_length())


def _batches(
    captioner: Captioner, pictures: Sequence[PictureLike], batch_size: int
) -> Iterator[tuple[list[np.ndarray], list[tuple[int, int]]]]:
    """Prepared images or clips and original (height, width), batch by batch."""
    count = captioner.at_once(batch_size)
    for start in range(0, len(pictures), count):
        group = pictures[start : start + count]
        pairs = [prepared(picture, captioner.preprocessing) for picture in group]
        yield [pixels for pixels, _ in pairs], [size for _, size in pairs]


def _sentences(queries: Any) -> list[str]:
    """Several queries.

    Raises:
      ValueError: none, or something that is no text.
    """
    found = list(queries) if isinstance(queries, Iterable) else [queries]
    if not all(isinstance(query, str) for query in found):
        raise ValueError(
            f"query is {queries!r}; expected a sentence, a list of them, or None for captions"
        )
    if not found:
        raise ValueError("got an empty list of queries; give one or more, or None for captions")
    return found


def _check_arguments(captioner: Any, decoding: Any, max_len: Any, batch_size: Any) -> None:
    """Raises ValueError for what is no captioner, no decoding, or no number of things."""
    if not isinstance(captioner, Captioner):
        got = captioner if captioner is None else type(captioner).__name__
        named = isinstance(captioner, (str, os.PathLike))
        name = os.fspath(captioner) if named else "scenes-soft"
        raise ValueError(f"the captioner is {got}; expected one, such as capjax.load({name!r})")
    if decoding is not None and not isinstance(decoding, get_args(Decoding)):
        raise ValueError(
            f"decoding is {decoding!r}; expected one such as capjax.Greedy() or capjax.Beam(3)"
        )
    for name, value in (("max_len", max_len), ("batch_size", batch_size)):
        if value is not None and (not isinstance(value, numbers.Integral) or value < 1):
            raise ValueError(f"{name} is {value!r}; expected a whole number, 1 or more")


def _name(source: PictureLike, number: int) -> str:
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else f"image {number}"


def _check_paths(studies: Iterable[Study], pictures: Sequence[PictureLike]) -> None:
    """Raises ValueError for a picture without a path where a study looks them up by it."""
    for study in studies:
        for number, source in enumerate(pictures):
            if study.by_path and not isinstance(source, (str, os.PathLike)):
                raise ValueError(
                    f"image {number} is a {type(source).__name__}, and {study.NAME} finds its "
                    "objects by its path; give the path, or masks= in the place of objects="
                )
