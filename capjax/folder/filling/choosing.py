"""Fills and their options on a command line."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from capjax.explainers.choosing import described_options, with_options
from capjax.inpaint.fills.around import Around
from capjax.inpaint.fills.contract import Fill
from capjax.inpaint.fills.gated import Gated
from capjax.inpaint.fills.named import FILLS, named_fill

AROUND = "around"
"""What options of cutting and pasting are called by."""


def add_fill_options(add: Callable[..., Any]) -> None:
    """`--model` and `--set`."""
    add(
        "--model",
        help="weights of the fill gated: a folder of an inpainter, a file of released weights, or "
        "a shipped name",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="FILL.OPTION=VALUE",
        help="an option of a fill, or of how objects are cut out and pasted, as in "
        "around.dilate=3; may be repeated",
    )


def chosen_fills(
    names: Sequence[str], options: Sequence[str], model: str | None = None
) -> tuple[dict[str, Fill], Around]:
    """Fills by name, and how objects are cut out and pasted.

    Args:
      names: of `FILLS`.
      options: as in "telea.radius=5" and "around.dilate=3".
      model: weights of the fill that needs them.

    Raises:
      ValueError: an unknown fill or option, a value that makes no sense, an option of a fill that
        is not asked for, or one that cannot work here.
    """
    own: dict[str, list[str]] = {AROUND: [], **{name: [] for name in names}}
    if model is not None:
        options = [*options, f"{Gated.NAME}.checkpoint={model}"]
    for name in names:
        named_fill(name)
    for text in options:
        name, dot, option = text.partition(".")
        if not dot or "=" not in option:
            raise ValueError(
                f"got the option {text!r}; expected FILL.OPTION=VALUE, such as blur.sigma=6"
            )
        if name not in own:
            raise ValueError(
                f"the option {text!r} is of {name!r}, which is not among the fills "
                f"{', '.join(names)}; add it, or leave the option out"
            )
        own[name].append(option)
    fills = {name: with_options(named_fill(name), own[name], name) for name in names}
    for fill in fills.values():
        fill.check()
    return fills, with_options(Around(), own[AROUND], AROUND)


def fill_names(text: str, *, weights: bool) -> list[str]:
    """The names in a list with commas; "all" is all, or those that need no weights.

    Raises:
      ValueError: there is no name in it.
    """
    if text == "all":
        return [name for name in FILLS if weights or name != Gated.NAME]
    names = list(dict.fromkeys(filter(None, text.split(","))))
    if not names:
        raise ValueError(f"got --fills={text}; expected all, or some of: {', '.join(FILLS)}")
    return names


def described_fills() -> str:
    """All fills for people: options with their defaults and meaning, cost and source."""
    lines = []
    for name, fill in FILLS.items():
        facts = {"cost": fill.COST, "source": fill.SOURCE}
        lines += described_options(name, fill, dataclasses.asdict(fill), facts)
    around = Around()
    return "\n".join([*lines, *described_options(AROUND, around, dataclasses.asdict(around), {})])


def describe(fill: Fill, around: Around) -> Mapping[str, Any]:
    """What run.json says of how holes are filled."""
    return {
        "fill": fill.NAME,
        "options": fill.describe(),
        AROUND: dataclasses.asdict(around),
    }
