"""The Python door: load a captioner, caption images or clips, see where every word comes from."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from capjax.captioner import (
    MODEL_FILE,
    Captioner,
    captioner_folder,
    load_captioner,
    shipped_models,
)
from capjax.decoding import Decoding, default_decoding
from capjax.explain.scaling import Values
from capjax.explain_batch import Explained, caption_batch, check_methods, explain_batch
from capjax.pictures import PictureLike, prepared, several, shown
from capjax.sentence import Sentence, Unknown
from capjax.types import Caption, Explanation
from capjax.viz.report import ReportHead, ReportItem, inline_html, thumbnail, write_page
from capjax.viz.strips import word_strip
from capjax.weights.hub_address import is_hub
from capjax.weights.vit_gpt2 import is_transformers_folder, load_vit_gpt2

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def load(name_or_dir: str | os.PathLike[str]) -> Captioner:
    """The captioner in a folder, in a training workdir, of the hub, or shipped with capjax by name.

    Args:
      name_or_dir: a folder that `Captioner.save` wrote, a training workdir, the name of a shipped
        model; for ViT-GPT2, "hf:owner/name[@revision]", for example
        "hf:nlpconnect/vit-gpt2-image-captioning", or a folder with the same files.

    Raises:
      FileNotFoundError: a file of a hub model is missing; the text says which, and where to put it.
      ValueError: neither such a folder nor such a name; the text lists the names.
    """
    if is_hub(name_or_dir):
        return load_vit_gpt2(name_or_dir)
    folder = captioner_folder(name_or_dir)
    if folder is not None:
        return load_captioner(folder)
    if is_transformers_folder(name_or_dir):
        return load_vit_gpt2(name_or_dir)
    is_folder = pathlib.Path(name_or_dir).is_dir()
    found = f"the folder holds no {MODEL_FILE}" if is_folder else "there is no such folder"
    raise ValueError(
        f"no captioner at {os.fspath(name_or_dir)!r}: {found}, and no shipped model has this "
        f"name; shipped models: {', '.join(shipped_models()) or 'none'}. A training workdir holds "
        "a model after its first evaluation"
    )


def caption(
    captioner: Captioner,
    images: PictureLike | Sequence[PictureLike],
    *,
    decoding: Decoding | None = None,
    max_len: int | None = None,
    batch_size: int = 16,
) -> list[Caption]:
    """One caption an image.

    Args:
      captioner: from `load`.
      images: one or many: paths, Pillow images, or uint8 arrays [H W 3] or [B H W 3]; for a
        captioner of clips paths of clips, or arrays of their frames [N H W 3] or [B N H W 3].
      decoding: `Greedy()`, `Beam(...)` or `HuggingFaceBeam(...)`; default: what the captioner was
        validated with, by its card, else `Beam(3)`.
      max_len: most tokens, the end token included; default: what the card says, else 25.
      batch_size: images decoded at once, of which a clip counts as its frames; changes no caption.
    """
    captions: list[Caption] = []
    usual, longest = default_decoding(captioner)
    pictures = several(images, clips=captioner.preprocessing.frames > 0)
    for ready, _ in _batches(captioner, pictures, batch_size):
        batch = pad_batch(ready, captioner.at_once(batch_size))
        _, found = caption_batch(
            captioner, batch, decoding=decoding or usual, max_len=max_len or longest
        )
        captions += found[: len(ready)]
    return captions


def explain(
    captioner: Captioner,
    images: PictureLike | Sequence[PictureLike],
    *,
    methods: Sequence[str] = ("attention",),
    query: str | Sequence[str] | None = None,
    unknown_words: Unknown = "token",
    decoding: Decoding | None = None,
    max_len: int | None = None,
    batch_size: int = 16,
) -> "ExplainedImages":
    """Captions with a map for every word; the result draws itself in a notebook.

    Args:
      captioner: from `load`.
      images: one or many: paths, Pillow images, or uint8 arrays [H W 3] or [B H W 3]; for a
        captioner of clips paths of clips, or arrays of their frames [N H W 3] or [B N H W 3].
      methods: keys of `capjax.explain.METHODS`.
      query: explain this sentence, or these, for every image instead of each image's caption;
        `[a small boy] in [a hat]` marks phrases that get a map each.
      unknown_words: how the captioner reads words of a query outside its vocabulary: as its unknown
        word ("token") or not at all ("skip"). They stay in the result and are flagged.
      decoding, max_len, batch_size: as `caption`.

    Returns:
      One result an image, or one an image and query, image by image.

    Raises:
      ValueError: an unknown method, an unreadable image, or a query without words.
    """
    chosen = check_methods(captioner, methods)
    texts = [query] if query is None or isinstance(query, str) else list(query)
    if not texts:
        raise ValueError("got an empty list of queries; give one or more, or None for captions")
    asked = [
        Sentence.of_query(captioner, text, unknown=unknown_words)
        for text in texts
        if text is not None
    ]
    results: list[ExplainedImage] = []
    usual, longest = default_decoding(captioner)
    frames = captioner.preprocessing.frames
    pictures = several(images, clips=frames > 0)
    for ready, sizes in _batches(captioner, pictures, batch_size):
        explained = explain_batch(
            captioner,
            pad_batch(ready, captioner.at_once(batch_size)),
            sizes,
            methods=chosen,
            decoding=decoding or usual,
            max_len=max_len or longest,
            queries=[asked] * len(sizes) if asked else None,
        )
        for found in explained:
            number = len(results) // len(texts)
            source = pictures[number]
            for own, text in zip(found, texts, strict=True):
                results.append(ExplainedImage(_name(source, number), source, own, text, frames))
    return ExplainedImages(results)


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedImage:
    """One image or clip, its caption, and a map for every word.

    Attributes:
      name: its path, or its number in the call.
      source: the image or clip as it was given.
      explained: caption, words and maps.
      query: the sentence that was explained instead of the caption.
      frames: of a clip, how many were seen; 0 for an image.
    """

    name: str
    source: PictureLike
    explained: Explained
    query: str | None = None
    frames: int = 0

    @functools.cached_property
    def _shown(self) -> tuple[np.ndarray, np.ndarray | None]:
        return shown(self.source, self.frames)

    @property
    def image(self) -> UInt8[np.ndarray, "*F H W 3"]:
        """The upright image [H W 3], or the frames of a clip, of at most 640 pixels [F H W 3]."""
        return self._shown[0]

    @property
    def seconds(self) -> Float[np.ndarray, " F"] | None:
        """When each frame of a clip is shown; None for images and clips without times."""
        return self._shown[1]

    @property
    def caption(self) -> Caption:
        """What the captioner says by itself."""
        return self.explained.caption

    @property
    def words(self) -> tuple[str, ...]:
        """The words that were explained."""
        return self.explained.sentence.words

    @property
    def explanations(self) -> Mapping[str, Explanation]:
        """Method -> maps."""
        return self.explained.explanations

    def __getitem__(self, method: str) -> Explanation:
        """The maps of one method."""
        if method not in self.explanations:
            raise KeyError(f"no {method!r} maps here; there are: {', '.join(self.explanations)}")
        return self.explanations[method]

    def word_strip(self, method: str | None = None, **options: Any) -> Image.Image:
        """The word strip of a method (the first by default): quick, for papers and previews;
        `options` go to `viz.word_strip`."""
        return word_strip(self.image, self[method or next(iter(self.explanations))], **options)

    def plot(
        self, method: str | None = None, *, values: Values | None = None, **options: Any
    ) -> "Figure":
        """A matplotlib figure with one subplot a word and a phrase, of a clip one row of frames;
        `values`, as in `viz.word_strip`, and `options` go to `viz.plot_attention`."""
        from capjax.viz.figures import plot_attention
        from capjax.viz.parts import words_and_phrases

        found = self[method or next(iter(self.explanations))]
        part = words_and_phrases(found).shown(found.method, values)
        own = {"geometry": found.geometry, "relevance": part.relevance, "unit": part.unit}
        options = {**own, **options}
        return plot_attention(self.image, part.labels, part.maps, **options)

    def report_item(self) -> ReportItem:
        """The image as the viewer shows it."""
        return ReportItem(
            name=self.name,
            thumbnail=thumbnail(self.image),
            caption=self.caption.text,
            explanations=tuple(self.explanations.values()),
            query=self.query,
            frames=next(iter(self.explanations.values())).maps.shape[1],
            seconds=() if self.seconds is None else self.seconds.tolist(),
        )

    def __repr__(self) -> str:
        return (
            f"ExplainedImage({self.name!r}, caption={self.caption.text!r}, "
            f"methods={list(self.explanations)})"
        )

    def _repr_html_(self) -> str:
        return ExplainedImages([self])._repr_html_()


class ExplainedImages(list[ExplainedImage]):
    """Explained images; a notebook shows them in the same viewer as the report of explain.py."""

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Writes the viewer as one self-contained page."""
        with open(path, "w", encoding="utf-8") as stream:
            write_page(stream, (image.report_item() for image in self), self._head())

    def _head(self) -> ReportHead:
        methods = list(dict.fromkeys(name for image in self for name in image.explanations))
        ranges = {}
        for method in methods:
            flags = [image[method].flags for image in self if method in image.explanations]
            ranges[method] = (
                min(flag["minimum"] for flag in flags),
                max(flag["maximum"] for flag in flags),
            )
        noun = "clip" if any(image.frames for image in self) else "image"
        return ReportHead(
            title=f"{len(self)} {noun}{'' if len(self) == 1 else 's'}, word by word",
            methods=methods,
            ranges=ranges,
        )

    def _repr_html_(self) -> str:
        return inline_html([image.report_item() for image in self], self._head())


def pad_batch(images: Sequence[np.ndarray], batch_size: int) -> np.ndarray:
    """[B H W 3], of clips [B F H W 3]; a batch that is not full is padded to a power of two, so
    that few sizes occur."""
    size = min(batch_size, 1 << (len(images) - 1).bit_length())
    padding = [np.zeros_like(images[0])] * (size - len(images))
    return np.stack([*images, *padding])


def _batches(
    captioner: Captioner, pictures: Sequence[PictureLike], batch_size: int
) -> Iterator[tuple[list[np.ndarray], list[tuple[int, int]]]]:
    """Prepared images or clips and original (height, width), batch by batch."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected 1 or more")
    count = captioner.at_once(batch_size)
    for start in range(0, len(pictures), count):
        group = pictures[start : start + count]
        pairs = [prepared(picture, captioner.preprocessing) for picture in group]
        yield [pixels for pixels, _ in pairs], [size for _, size in pairs]


def _name(source: PictureLike, number: int) -> str:
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else f"image {number}"
