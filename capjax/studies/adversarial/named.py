"""Attacks by name with options, as in "show_and_fool+steps=300+tries=3"."""

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
