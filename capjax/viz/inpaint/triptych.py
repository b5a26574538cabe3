"""A picture, its hole, and the picture with the hole filled, side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from capjax.viz.fonts.lettering import FontFiles, Lettering
from capjax.viz.inpaint.side_by_side import masked
from capjax.viz.strips import Panel, reduced, wrapped

HEIGHT = 256
"""Of each picture, in pixels."""
OVERSIZE = "hole larger than those it was trained on"


def triptych(
    image: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    filled: UInt8[np.ndarray, "H W 3"],
    *,
    fill: str,
    oversize: bool = False,
    height: int = HEIGHT,
    font: FontFiles | None = None,
) -> Image.Image:
    """Raw, masked and filled, each with its name below.

    Args:
      image: as it was.
      mask: what was filled.
      filled: the same picture without it.
      fill: name of what filled it.
      oversize: says so below the filled picture.
      height: of each picture, in pixels; others are reduced, in their proportions.
      font: a file with letters that no font of this machine has.
    """
    notes = {"raw": "", "masked": f"{100 * mask.mean():.3g} % removed", fill: OVERSIZE * oversize}
    return _labelled(
        dict(zip(notes, (image, masked(image, mask), filled), strict=True)), notes, height, font
    )


def fills_sheet(
    image: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    filled: Mapping[str, UInt8[np.ndarray, "H W 3"]],
    notes: Mapping[str, str],
    *,
    height: int = HEIGHT,
    font: FontFiles | None = None,
) -> Image.Image:
    """Raw, masked and what each fill makes of it, in one row.

    Args:
      image: as it was.
      mask: what was filled.
      filled: name of a fill -> picture.
      notes: name of a fill -> what stands below its name.
      height: of each picture, in pixels.
      font: a file with letters that no font of this machine has.
    """
    return _labelled({"raw": image, "masked": masked(image, mask), **filled}, notes, height, font)


def _labelled(
    pictures: Mapping[str, np.ndarray],
    notes: Mapping[str, str],
    height: int,
    font: FontFiles | None,
) -> Image.Image:
    panels = [
        Panel(reduced(Image.fromarray(picture), height), name, notes.get(name, ""))
        for name, picture in pictures.items()
    ]
    # However wide the pictures are, they stand in one row.
    columns = len(panels) * panels[0].picture.width // height + len(panels)
    return wrapped(panels, columns, Lettering.of(font), height=height)


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Sheets below one another."""
    width = max(sheet.width for sheet in sheets)
    whole = Image.new("RGB", (width, sum(sheet.height for sheet in sheets)), (255, 255, 255))
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    return whole
