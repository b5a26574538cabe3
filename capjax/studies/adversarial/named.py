"""Attacks by name with options, as in "show_and_fool+steps=300+tries=3"."""

import argparse
from collections.abc import Callable
from typing import Any

from capjax.explainers.choosing import INNER, with_options
from capjax.studies.adversarial.attack import Attack
from capjax.studies.adversarial.gradient_steps import FGSM, PGD
from capjax.studies.adversarial.show_and_fool import ShowAndFool

ATTACKS: dict[str, Attack] = {one.NAME: one for one in (FGSM(), PGD(), ShowAndFool())}
"""Name -> the attack with its default options."""


def named_attack(text: str) -> Attack:
    """The attack of a name, with the options behind it.

    Raises:
      ValueError: an unknown name or option, or a value that makes no sense.
    """
    name, *options = text.split(INNER)
    if name not in ATTACKS:
        raise ValueError(
            f"unknown attack {name!r}; choose one of: {', '.join(ATTACKS)}, with options as in "
            "pgd+norm=l2+steps=20"
        )
    return with_options(ATTACKS[name], options, name)


def add_attack_options(add: Callable[..., Any], *, attacks: str, epsilons: str) -> None:
    """`--attacks` and `--epsilons`.

    Args:
      add: `add_argument` of a parser.
      attacks, epsilons: what they are by default.
    """
    add(
        "--attacks",
        default=attacks,
        help=f"with commas, of: {', '.join(ATTACKS)}; options as in "
        f"show_and_fool+steps=300+tries=3+rate=0.05 (default {attacks})",
    )
    add(
        "--epsilons",
        default=epsilons,
        help=f"largest changes, in levels of 255, with commas (default {epsilons})",
    )


def chosen_attacks(options: argparse.Namespace) -> tuple[dict[str, Attack], list[float]]:
    """Attacks by what they were called, and epsilons in order.

    Raises:
      ValueError: what `named_attack` raises, or an epsilon that is no number of levels.
    """
    attacks = {text: named_attack(text) for text in options.attacks.split(",") if text}
    try:
        epsilons = sorted({float(text) for text in options.epsilons.split(",") if text})
    except ValueError:
        epsilons = []
    if not epsilons or not all(0 <= epsilon <= 255 for epsilon in epsilons):
        raise ValueError(f"got --epsilons={options.epsilons}; expected levels from 0 to 255")
    if not attacks:
        raise ValueError(f"got no attack; choose from: {', '.join(ATTACKS)}")
    return attacks, epsilons
