"""Other pictures to compare with: a fixed handful, kept with a captioner as their features.

    python -m capjax.explainers.language --model=FOLDER --images=FOLDER_OR_FILES

Features and not pictures: nothing has to be encoded before the first word, and nobody who passes a
model on passes photographs on that he learnt from. They are kept in half precision and on a grid of
at most 8 x 8, which takes half as long to read; on photographs that changes a word's bits by 0.1.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from capjax.captioner import Captioner
from capjax.data.pictures.images import UnreadableFileError
from capjax.decoding.captions import see
from capjax.types import Features

PICTURES = 16
LARGEST_SIDE = 8
"""Of the grid that is kept, in cells."""


def with_others(
    captioner: Captioner, pictures: UInt8[np.ndarray, "O *F H W 3"], *, at_once: int = PICTURES
) -> Captioner:
    """The same captioner, which compares with these pictures.

        captioner = with_others(captioner, np.stack([prepared(path, captioner.preprocessing)[0]
                                                     for path in paths]))

    Args:
      captioner: any.
      pictures: prepared, two or more; `PICTURES` is usual.
      at_once: of them, encoded together.

    Raises:
      ValueError: fewer than two.
    """
    if len(pictures) < 2:
        raise ValueError(f"got {len(pictures)} pictures to compare with; give {PICTURES}, or two")
    parts = [
        see(captioner.net, captioner.variables, pictures[start : start + at_once])
        for start in range(0, len(pictures), at_once)
    ]
    features = Features(
        positions=jnp.concatenate([part.positions for part in parts]),
        extra=jnp.concatenate([part.extra for part in parts]),
        valid=jnp.concatenate([part.valid for part in parts]),
        grid=parts[0].grid,
    )
    return dataclasses.replace(captioner, others=coarse(features))


def digest_of_others(others: Features | None) -> str | None:
    """Of features to compare with, the same before and after they were saved; None of none."""
    if others is None:
        return None
    digest = hashlib.sha256(json.dumps(others.grid).encode())
    for leaf in (others.positions, others.extra):
        digest.update(np.ascontiguousarray(leaf, np.float16).data)
    digest.update(np.ascontiguousarray(others.valid, np.bool_).data)
    return digest.hexdigest()


@jax.jit
def coarse(features: Features) -> Features:
    """Features to keep: means over blocks of cells, of clips over frames; as half precision has it.

    Blocks are as small as a grid of at most `LARGEST_SIDE` cells a side allows.
    """
    if features.positions.shape[1] > 1:
        features = features.frame_means()
    rows, columns = features.grid
    block = -(-max(rows, columns) // LARGEST_SIDE)
    grid = (-(-rows // block), -(-columns // block))
    cells = np.arange(rows)[:, None] // block * grid[1] + np.arange(columns)[None] // block
    member = np.arange(grid[0] * grid[1])[:, None] == cells.reshape(1, -1)  # [P' P]
    share = jnp.where(member[None, None], features.valid[:, :, None].astype(jnp.float32), 0.0)
    count = jnp.sum(share, axis=-1, keepdims=True)
    seen = features.positions.astype(jnp.float32)
    total = jnp.einsum("bfqp,bfpd->bfqd", share, seen, precision="highest")
    return Features(
        positions=_rounded(total / jnp.maximum(count, 1.0)),
        extra=_rounded(features.extra),
        valid=count[..., 0] > 0,
        grid=grid,
    )


def chosen_others(
    keys: Sequence[str], load: Callable[[int], Any], *, count: int = PICTURES
) -> list[Any]:
    """What `load` gives of `count` pictures, those whose digests of their keys come first.

    The choice depends on no order and on no seed. A picture that cannot be read gives its place to
    the next one.

    Args:
      keys: of all pictures there are.
      load: reads one by its number; may raise UnreadableFileError.
      count: at most so many.
    """
    order = sorted(range(len(keys)), key=lambda at: hashlib.sha256(keys[at].encode()).digest())
    found: list[Any] = []
    for number in order:
        if len(found) == count:
            break
        try:
            found.append(load(number))
        except UnreadableFileError:
            continue
    return found


def _rounded(values: Array) -> Float[Array, "*N"]:
    return values.astype(jnp.float16).astype(jnp.float32)
