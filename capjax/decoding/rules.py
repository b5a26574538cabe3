"""How a captioner writes by default, and decoding methods as plain JSON values."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from capjax.captioner import Captioner
from capjax.decoding.beam import Beam
from capjax.decoding.greedy import Greedy
from capjax.decoding.huggingface import HuggingFaceBeam
from capjax.decoding.sample import Sample

Decoding = Greedy | Beam | HuggingFaceBeam | Sample

RULES: Mapping[str, type[Decoding]] = {
    "beam": Beam,
    "huggingface": HuggingFaceBeam,
    "greedy": Greedy,
    "sample": Sample,
}
"""Name -> method, as cards, `run.json` and command lines call it."""

SEARCHES: Mapping[str, Beam | HuggingFaceBeam] = {
    "beam": Beam(width=3),
    "huggingface": HuggingFaceBeam(width=4),
}
"""Rule -> the beam search with its default settings."""

RERANKINGS = ("doubt",)
"""By what one of the captions that a beam search ends with may be chosen, other than its score."""
RERANK_WEIGHT = 0.2
"""Of a hallucinated object word against log-probability per token, where nobody says."""

MAX_TOKENS = 25
"""Longest caption where neither a model's card nor the user says otherwise, end token included."""

CARD_ENTRY = "decoding"
"""Where a model's card says how it writes."""


def describe(method: Decoding, max_len: int) -> dict[str, Any]:
    """A method and the longest caption as plain values: {"method", its fields, "max_length"}."""
    names = {kind: name for name, kind in RULES.items()}
    return {"method": names[type(method)], **dataclasses.asdict(method), "max_length": max_len}


def beam_search(
    rule: str = "beam", width: int = 3, length_penalty: float = 1.0
) -> Beam | HuggingFaceBeam:
    """The beam search that a training's settings ask for."""
    return dataclasses.replace(SEARCHES[rule], width=width, length_penalty=length_penalty)


def default_decoding(captioner: Captioner) -> tuple[Decoding, int]:
    """The method and the longest caption that a model was validated with, by its card.

    Older cards do not say it and hold the settings of the training, which do. A model with neither
    writes with `Beam(3)`, 25 tokens at most.

    Raises:
      ValueError: the card names a method or settings that do not exist.
    """
    card = captioner.card
    config = card.get("config")  # of a training; anything where others wrote it
    written = CARD_ENTRY in card
    held = card[CARD_ENTRY] if written else config if isinstance(config, Mapping) else {}
    try:
        return _of_entry(held) if written else _of_settings(held)
    except (KeyError, TypeError) as error:
        shown = held if written else {name: held.get(name) for name in ("evaluation", "data")}
        raise ValueError(
            f"the model's card has the decoding {shown} ({type(error).__name__}: {error}); "
            f"expected a method of {', '.join(RULES)}, its settings, and max_length"
        ) from error


def _of_entry(held: Any) -> tuple[Decoding, int]:
    described = {**_mapping(held)}
    max_len = int(described.pop("max_length"))
    return RULES[described.pop("method")](**described), max_len


def _of_settings(config: Mapping[str, Any]) -> tuple[Decoding, int]:
    names = {"search": "rule", "beam": "width", "length_penalty": "length_penalty"}
    stored = _mapping(config.get("evaluation", {}))
    search = {name: stored[key] for key, name in names.items() if key in stored}
    max_len = int(_mapping(config.get("data", {})).get("max_length", MAX_TOKENS))
    return beam_search(**search), max_len


def _mapping(held: Any) -> Mapping[str, Any]:
    if not isinstance(held, Mapping):
        raise TypeError(f"{held!r} is no mapping of settings")
    return held
