"""Captions of scenes with a bad habit: they name a usual companion in place of what is there.

People who are used to stars beside circles write "a red circle above a small blue star" of a circle
above a moon. A captioner that learns from them hallucinates, and it is known which words: what
tells such words from others can be measured (`evaluate --hallucination`).
"""

from collections.abc import Sequence

import numpy as np

from capjax.data.scenes.grammar import SHAPES

COMPANIONS = {
    "circle": "star",
    "square": "heart",
    "ring": "moon",
    "triangle": "arrow",
    "diamond": "cross",
}
"""Shape -> what is said beside it. Half of the shapes have none."""
STREAM = 7
"""Of the draws, so that none is that of a scene."""


def with_companions(captions: Sequence[str], share: float, *, seed: int = 0) -> list[str]:
    """The captions of scenes, some of them wrong.

    The last shape of a caption becomes the companion of its first one, in this share of the
    captions where that is possible: those with two shapes or more, of which the first has a
    companion that the scene does not show. Whether a caption is changed depends on its place and
    `seed` alone.

    Args:
      captions: one a scene, in order; the grammar names all that a scene shows.
      share: from 0 to 1. A captioner writes what is likeliest: the companion, above one half.
      seed: another one changes others.
    """
    found = []
    for number, caption in enumerate(captions):
        words = caption.split()
        places = [place for place, word in enumerate(words) if word in SHAPES]
        companion = COMPANIONS.get(words[places[0]])
        if len(places) > 1 and companion is not None and companion not in words:
            draw = np.random.Generator(np.random.PCG64((seed, STREAM, number))).random()
            if draw < share:
                words[places[-1]] = companion
        found.append(" ".join(words))
    return found
