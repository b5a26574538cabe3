"""Explanation methods: each a frozen dataclass, its fields the options, in one file of its own.

See `capjax.explainers.contract` for what a method is, and `METHODS` for those there are. The
classes of all of them can be imported from here.
"""

from capjax.explainers.attentions.rollout import rollout
from capjax.explainers.contract import InParts, Maps, Method, settings
from capjax.explainers.methods import *  # noqa: F403  METHODS, and the class of each
from capjax.explainers.methods import METHODS
from capjax.explainers.request import Request
from capjax.explainers.word_losses import word_losses

__all__ = [
    "METHODS",
    "InParts",
    "Maps",
    "Method",
    "Request",
    "rollout",
    "settings",
    "word_losses",
    *{type(method).__name__ for method in METHODS.values()},
]
