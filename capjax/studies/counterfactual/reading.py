"""One pipeline for all changed pictures of all photographs: fill, encode, caption, read again.

Rows of any photographs share chunks of one fixed size, so that everything runs in one program and
memory does not grow with pictures or objects. What is read of a row depends on the row alone.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, UInt8

from capjax.captioner import Captioner, CaptionNet
from capjax.data.pictures.images import prepare
from capjax.decoding.captions import caption_batch
from capjax.decoding.rules import default_decoding
from capjax.explainers.request import Forced
from capjax.ops.devices import by_rows, mesh_of, pad_rows
from capjax.types import Caption, Features

Remover = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Sequence[np.ndarray]]
"""(pictures, masks) of any sizes, no mask empty -> the pictures without what the masks cover.
ValueError for what it cannot fill."""


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A picture to read.

    Attributes:
      subject: number of its photograph; those of one photograph follow one another.
      image: the photograph.
      mask: what is removed of it; None: nothing, as of the first row of each photograph, whose
        caption is the one that all others are asked about.
      fill: name of what fills the hole.
    """

    subject: int
    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"] | None = None
    fill: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Read:
    """What a captioner makes of a picture.

    Attributes:
      picture: without what was removed, in the photograph's size; None once it is let go.
      caption: what is said of it.
      log_probs: [T] of the tokens of the photograph's caption, natural logs.
      attention: [N P] of its own caption, one map a token; None where the captioner has none.
      refused: why nothing could be removed; all the rest is of the photograph as it is then.
    """

    picture: UInt8[np.ndarray, "H W 3"] | None
    caption: Caption
    log_probs: Float[np.ndarray, " T"]
    attention: Float[np.ndarray, "N P"] | None
    refused: str | None = None


def read_rows(
    captioner: Captioner, rows: Iterable[Row], removers: Mapping[str, Remover], at_once: int
) -> Iterator[Read]:
    """Reads any number of rows, in order.

    Args:
      captioner: of images.
      rows: see `Row`.
      removers: by name of a fill.
      at_once: rows of a chunk.

    Raises:
      ValueError: a remover changes a picture's size or type.
    """
    decoding, max_len = default_decoding(captioner)
    tokens = dict[int, tuple[int, ...]]()
    todo = iter(rows)
    while chunk := list(itertools.islice(todo, at_once)):
        pictures, refused = _without(chunk, removers)
        prepared = [prepare(picture, captioner.preprocessing)[0] for picture in pictures]
        # The last chunk runs in the program of the others.
        images = np.stack(prepared + [prepared[-1]] * (at_once - len(chunk)))
        features, captions = caption_batch(captioner, images, decoding=decoding, max_len=max_len)
        for row, caption in zip(chunk, captions, strict=False):
            if row.mask is None:
                tokens[row.subject] = caption.tokens
        asked = np.zeros((at_once, 2, max_len), np.int32)
        for at, (row, caption) in enumerate(zip(chunk, captions, strict=False)):
            for side, own in enumerate((tokens[row.subject], caption.tokens)):
                asked[at, side, : len(own)] = own
        mesh = mesh_of(at_once)
        given = captioner.net, captioner.placed(mesh), (features, pad_rows(asked, mesh)), mesh
        log_probs, attention = jax.device_get(_forced(*given))
        for at, (row, picture) in enumerate(zip(chunk, pictures, strict=True)):
            about, said = tokens[row.subject], captions[at]
            maps = None if attention is None else attention[at, : len(said.tokens)]
            yield Read(picture, said, log_probs[at, : len(about)], maps, refused.get(at))
        tokens = {chunk[-1].subject: tokens[chunk[-1].subject]}


@functools.partial(jax.jit, static_argnames=("net", "mesh"))
def _forced(
    net: CaptionNet,
    variables: Any,
    divided: tuple[Features, Int[Array, "B 2 T"]],
    mesh: Mesh | None,
) -> tuple[Array, Array | None]:
    """Log-probabilities [B T] of the first sentence and attention [B T P] of the second one."""

    def own(variables: Any, divided: Any) -> tuple[Array, Array | None]:
        read = Forced.read(net, variables, *divided)
        maps = None if read.attention is None else read.attention[:, 1]
        if maps is not None:
            maps = maps.reshape(*maps.shape[:2], -1)
        return read.log_probs[:, 0], maps

    return by_rows(own, mesh)(variables, divided)


def _without(
    rows: Sequence[Row], removers: Mapping[str, Remover]
) -> tuple[list[np.ndarray], dict[int, str]]:
    """The pictures of rows, those with one fill filled together; and why some stay as they are."""
    pictures, refused = [row.image for row in rows], dict[int, str]()
    for name in dict.fromkeys(row.fill for row in rows if row.mask is not None):
        own = [at for at, row in enumerate(rows) if row.mask is not None and row.fill == name]
        masks = [mask for at in own if (mask := rows[at].mask) is not None]
        filled = _filled(removers[name], [rows[at].image for at in own], masks)
        for at, picture in zip(own, filled, strict=True):
            if isinstance(picture, str):
                refused[at] = picture
                continue
            if picture.shape != pictures[at].shape or picture.dtype != np.uint8:
                raise ValueError(
                    f"the fill {name!r} made {picture.dtype} {picture.shape} of uint8 "
                    f"{pictures[at].shape}; a fill keeps size and type"
                )
            pictures[at] = picture
    return pictures, refused


def _filled(
    remover: Remover, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]
) -> list[np.ndarray | str]:
    """Each picture filled, or why it cannot be; one that cannot stops no other."""
    try:
        return [*remover(images, masks)]
    except ValueError as error:
        if len(images) == 1:
            return [str(error)]
        pairs = zip(images, masks, strict=True)
        return [own for image, mask in pairs for own in _filled(remover, [image], [mask])]


def pasted(fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Remover:
    """A fill of one's own as a remover: what it paints counts inside the masks alone.

    Args:
      fill: (images [B H W 3] uint8, masks [B H W] bool, True = remove) -> images of that shape.
        Pictures of one size are handed over together.
    """
    return functools.partial(_by_size, fill, paste=True)


def redrawn(fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Remover:
    """A fill that knows what the picture is without an object: taken whole, masks or not."""
    return functools.partial(_by_size, fill, paste=False)


def _by_size(
    fill: Callable[[np.ndarray, np.ndarray], np.ndarray],
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    paste: bool,
) -> list[np.ndarray]:
    found = list(images)
    for size in dict.fromkeys(image.shape for image in images):
        own = [at for at, image in enumerate(images) if image.shape == size]
        before, holes = (np.stack([given[at] for at in own]) for given in (images, masks))
        after = np.asarray(fill(before, holes))
        if paste and after.shape == before.shape:
            after = np.where(holes[..., None], after, before)
        for at, picture in zip(own, after, strict=True):
            found[at] = picture
    return found
