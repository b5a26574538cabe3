"""The Python door: load a captioner, caption images, see where every word comes from."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from capjax.captioner import (
    MODEL_FILE,
    Captioner,
    captioner_folder,
    load_captioner,
    shipped_models,
)
from capjax.data.images import from_pillow, load_image, load_prepared, prepare
from capjax.explain_batch import (
    Decoding,
    Explained,
    caption_batch,
    check_methods,
    default_decoding,
    explain_batch,
)
from capjax.sentence import Sentence, Unknown
from capjax.types import Caption, Explanation
from capjax.viz.report import ReportHead, ReportItem, inline_html, thumbnail, write_page
from capjax.viz.strips import word_strip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_TOKENS = 25
"""Longest caption by default, its end token included."""

ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray


def load(name_or_dir: str | os.PathLike[str]) -> Captioner:
    """The captioner in a folder, in a training workdir, or shipped with capjax by name.

    Raises:
      ValueError: neither such a folder nor such a name; the text lists the names.
    """
    folder = captioner_folder(name_or_dir)
    if folder is not None:
        return load_captioner(folder)
    is_folder = pathlib.Path(name_or_dir).is_dir()
    found = f"the folder holds no {MODEL_FILE}" if is_folder else "there is no such folder"
    raise ValueError(
        f"no captioner at {os.fspath(name_or_dir)!r}: {found}, and no shipped model has this "
        f"name; shipped models: {', '.join(shipped_models()) or 'none'}. A training workdir holds "
        "a model after its first evaluation"
    )


def caption(
    captioner: Captioner,
    images: ImageLike | Sequence[ImageLike],
    *,
    decoding: Decoding | None = None,
    max_len: int = MAX_TOKENS,
    batch_size: int = 16,
) -> list[Caption]:
    """One caption an image.

    Args:
      captioner: from `load`.
      images: one or many: paths, Pillow images, or uint8 arrays [H W 3] or [B H W 3].
      decoding: `Greedy()` or `Beam(...)`; default `Beam(3)`.
      max_len: most tokens, the end token included.
      batch_size: images decoded at once; changes no caption.
    """
    captions: list[Caption] = []
    for prepared, _ in _batches(captioner, _several(images), batch_size):
        batch = pad_batch(prepared, batch_size)
        _, found = caption_batch(
            captioner, batch, decoding=decoding or default_decoding(), max_len=max_len
        )
        captions += found[: len(prepared)]
    return captions


def explain(
    captioner: Captioner,
    images: ImageLike | Sequence[ImageLike],
    *,
    methods: Sequence[str] = ("attention",),
    query: str | Sequence[str] | None = None,
    unknown_words: Unknown = "token",
    decoding: Decoding | None = None,
    max_len: int = MAX_TOKENS,
    batch_size: int = 16,
) -> "ExplainedImages":
    """Captions with a map for every word; the result draws itself in a notebook.

    Args:
      captioner: from `load`.
      images: one or many: paths, Pillow images, or uint8 arrays [H W 3] or [B H W 3].
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
    several = _several(images)
    for prepared, sizes in _batches(captioner, several, batch_size):
        explained = explain_batch(
            captioner,
            pad_batch(prepared, batch_size),
            sizes,
            methods=chosen,
            decoding=decoding or default_decoding(),
            max_len=max_len,
            queries=[asked] * len(sizes) if asked else None,
        )
        for found in explained:
            number = len(results) // len(texts)
            image = several[number]
            for own, text in zip(found, texts, strict=True):
                results.append(ExplainedImage(_name(image, number), image, own, text))
    return ExplainedImages(results)


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedImage:
    """One image, its caption, and a map for every word.

    Attributes:
      name: its path, or its number in the call.
      source: the image as it was given.
      explained: caption, words and maps.
      query: the sentence that was explained instead of the caption.
    """

    name: str
    source: ImageLike
    explained: Explained
    query: str | None = None

    @functools.cached_property
    def image(self) -> np.ndarray:
        """[H W 3] uint8, upright."""
        return _pixels(self.source)

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

    def word_strip(self, method: str | None = None) -> Image.Image:
        """The word strip of a method (the first by default): quick, for papers and previews."""
        return word_strip(self.image, self[method or next(iter(self.explanations))])

    def plot(self, method: str | None = None, **options: Any) -> "Figure":
        """A matplotlib figure with one subplot a word; `options` go to `viz.plot_attention`."""
        from capjax.viz.figures import plot_attention

        found = self[method or next(iter(self.explanations))]
        options = {"geometry": found.geometry, **options}
        return plot_attention(self.image, found.words, found.maps, **options)

    def report_item(self) -> ReportItem:
        """The image as the viewer shows it."""
        return ReportItem(
            name=self.name,
            thumbnail=thumbnail(self.image),
            caption=self.caption.text,
            explanations=tuple(self.explanations.values()),
            query=self.query,
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
        return ReportHead(
            title=f"{len(self)} image{'' if len(self) == 1 else 's'}, word by word",
            methods=methods,
            ranges=ranges,
        )

    def _repr_html_(self) -> str:
        return inline_html([image.report_item() for image in self], self._head())


def pad_batch(images: Sequence[np.ndarray], batch_size: int) -> np.ndarray:
    """[B H W 3]: a batch that is not full is padded to a power of two, so that few sizes occur."""
    size = min(batch_size, 1 << (len(images) - 1).bit_length())
    padding = [np.zeros_like(images[0])] * (size - len(images))
    return np.stack([*images, *padding])


def _several(images: Any) -> list[ImageLike]:
    """A list of images, whether one or many were given."""
    if isinstance(images, (str, os.PathLike, Image.Image)):
        return [images]
    if isinstance(images, np.ndarray) and images.ndim == 3:
        return [images]
    return list(images)


def _batches(
    captioner: Captioner, images: Sequence[ImageLike], batch_size: int
) -> Iterator[tuple[list[np.ndarray], list[tuple[int, int]]]]:
    """Prepared images and original (height, width), batch by batch."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected 1 or more")
    for start in range(0, len(images), batch_size):
        pairs = [_prepared(captioner, image) for image in images[start : start + batch_size]]
        yield [prepared for prepared, _ in pairs], [size for _, size in pairs]


def _prepared(captioner: Captioner, image: ImageLike) -> tuple[np.ndarray, tuple[int, int]]:
    if isinstance(image, (str, os.PathLike)):
        prepared, geometry = load_prepared(image, captioner.preprocessing)
    else:
        prepared, geometry = prepare(_pixels(image), captioner.preprocessing)
    return prepared, geometry.original


def _pixels(image: ImageLike) -> np.ndarray:
    if isinstance(image, (str, os.PathLike)):
        return load_image(image)
    if isinstance(image, Image.Image):
        return from_pillow(image)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
        raise ValueError(
            f"got an array of {array.dtype} {array.shape}; expected uint8 [H W 3], 0..255"
        )
    return array


def _name(image: ImageLike, number: int) -> str:
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {number}"
