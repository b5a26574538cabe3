"""How much of an explanation's map lies on each object: does a map know what matters?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from capjax.captioner import Captioner
from capjax.data.pictures.images import prepare
from capjax.decoding.rules import default_decoding
from capjax.explainers.batch import explain_batch
from capjax.explainers.choosing import Chosen
from capjax.explainers.wording import LEAST_TOKENS
from capjax.studies.counterfactual.measures import covered_cells
from capjax.types import Caption, Explanation


def mass_on(
    captioner: Captioner,
    image: UInt8[np.ndarray, "H W 3"],
    caption: Caption,
    methods: Sequence[Chosen],
    masks: Sequence[Bool[np.ndarray, "H W"]],
) -> dict[str, Float[np.ndarray, " N"]]:
    """Label of a method -> share of its maps that lies on each object.

    Args:
      captioner: of images.
      image: upright and whole.
      caption: whose words are explained, all together.
      methods: from `check_methods`.
      masks: of the objects.
    """
    seen, _ = prepare(image, captioner.preprocessing)
    decoding, max_len = default_decoding(captioner)
    ((explained,),) = explain_batch(
        captioner,
        seen[None],
        [(image.shape[0], image.shape[1])],
        methods=methods,
        decoding=decoding,
        max_len=max_len,
        captions=[caption],
        least_tokens=min(max_len, LEAST_TOKENS),
    )
    return {
        label: np.array([_mass(captioner, own, mask) for mask in masks])
        for label, own in explained.explanations.items()
    }


def _mass(captioner: Captioner, maps: Explanation, mask: Bool[np.ndarray, "H W"]) -> float:
    """Of the mean over the words, what speaks for them: values above 0, and probabilities where
    maps are logarithms. 0 where nothing does."""
    values = np.asarray(maps.maps, np.float64)[:, 0]
    whole = (np.exp(values) if maps.unit else values).mean(axis=0).clip(0).reshape(-1)
    cells = covered_cells(captioner, mask, maps.geometry.grid)
    total = float(whole.sum())
    return float(whole @ cells) / total if total > 0 else 0.0
