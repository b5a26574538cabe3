"""All fills by name. A new one is a file of its own and one line here."""

from collections.abc import Mapping
from typing import Final

from capjax.inpaint.fills.biharmonic import Biharmonic
from capjax.inpaint.fills.blur import Blur
from capjax.inpaint.fills.contract import Fill
from capjax.inpaint.fills.gated import Gated
from capjax.inpaint.fills.mean import Mean
from capjax.inpaint.fills.opencv import NavierStokes, Telea
from capjax.inpaint.fills.plate import Plate

FILLS: Mapping[str, Fill] = {
    fill.NAME: fill
    for fill in (Mean(), Blur(), Plate(), Telea(), NavierStokes(), Biharmonic(), Gated())
}
"""Name -> the fill with its default options."""
DEFAULT: Final = "plate"
"""What fills where nobody chose: the best that needs no weights, see docs/inpainting.md."""


def named_fill(name: str) -> Fill:
    """The fill of a name, with its default options.

    Raises:
      ValueError: there is none of this name.
    """
    if name not in FILLS:
        raise ValueError(f"unknown fill {name!r}; choose from: {', '.join(FILLS)}")
    return FILLS[name]
