"""Adversarial pictures: small changes of a picture that change what a captioner says of it."""

from capjax.studies.adversarial.attack import Attack, Attacked, Writing, attack
from capjax.studies.adversarial.goals import Goal
from capjax.studies.adversarial.gradient_steps import FGSM, PGD
from capjax.studies.adversarial.named import ATTACKS, named_attack
from capjax.studies.adversarial.show_and_fool import ShowAndFool

__all__ = [
    "ATTACKS",
    "FGSM",
    "PGD",
    "Attack",
    "Attacked",
    "Goal",
    "ShowAndFool",
    "Writing",
    "attack",
    "named_attack",
]
