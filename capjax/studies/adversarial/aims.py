"""What to make a captioner say of each of many pictures: captions of the others."""

from collections.abc import Sequence

import numpy as np

from capjax.captioner import Captioner
from capjax.decoding.rules import default_decoding
from capjax.studies.adversarial.batch import sentence_tokens


def captioner_tokens(captioner: Captioner, sentences: Sequence[str]) -> list[tuple[int, ...]]:
    """Those of some sentences that the captioner could write, as tokens."""
    found = []
    for sentence in sentences:
        try:
            found.append(sentence_tokens(captioner, sentence))
        except ValueError:
            continue  # it has a word that the captioner does not know
    return found


def aim_at(
    draw: np.random.Generator,
    row: int,
    spoken: Sequence[Sequence[tuple[int, ...]]],
    own: tuple[int, ...],
    longest: int,
) -> tuple[int, ...] | None:
    """What to make the captioner say of a photograph; None where nothing fits.

    Args:
      draw: decides which other photograph, and which of its sentences.
      row: of the photograph.
      spoken: sentences of every photograph.
      own: what the captioner says of this one by itself.
      longest: most tokens of a target.
    """
    for other in draw.permutation(len(spoken)):
        fitting = [one for one in spoken[other] if len(one) <= longest and one != own]
        if other != row and fitting:
            return fitting[int(draw.integers(len(fitting)))]
    return None


def aims_of(
    captioner: Captioner,
    own: Sequence[tuple[int, ...]],
    sentences: Sequence[Sequence[str]],
    seed: int,
) -> list[tuple[int, ...]]:
    """For each photograph, tokens of a caption of another one.

    Args:
      captioner: that shall say it.
      own: tokens of what it says of each.
      sentences: of people, of each; where none can be said, the captioner's own captions.
      seed: of the draw.

    Raises:
      ValueError: a photograph for which nothing fits.
    """
    draw = np.random.default_rng(seed)
    spoken = [captioner_tokens(captioner, several) for several in sentences]
    if not any(spoken):
        spoken = [[tokens] for tokens in own]
    _, longest = default_decoding(captioner)
    aims = []
    for row, tokens in enumerate(own):
        aim = aim_at(draw, row, spoken, tokens, longest)
        if aim is None:
            raise ValueError(
                "there is no caption of another photograph to aim at; give two photographs or more "
                "that the captioner describes differently, or other --captions"
            )
        aims.append(aim)
    return aims
