"""Why an object word is doubtful, or why it is not, in words."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from capjax.studies.doubt.doubter import Doubter
from capjax.studies.doubt.object_names import ObjectName
from capjax.studies.doubt.signals import DOUBTFUL

DOUBTED = 0.5
"""Probability from which a word counts as one not to believe."""
BELIEVED = 0.2
"""Probability below which a word is simply believed."""
FEW_BITS = 1.0
"""Fewer do not make a word the image's; see `visual_information.THRESHOLD`."""
LEAST_OWED = 0.5
"""Bits that an earlier word must add to be named as the reason."""

_AGAINST = {
    "log_probability": "its probability is {chance:.0%}",
    "entropy": "many other words were about as likely ({value:.1f} nats of entropy)",
    "prior": "few captions name such a thing",
    "bits": "{value:.1f} bits from the picture",
    "flatness": "the captioner looked everywhere at once",
    "agreement": "attention and Grad-CAM point to different places",
    "stability": "{value:.0%} of sampled captions name it",
    "score": "the whole caption has a low score",
    "peak": "{value:.1f} bits from where the captioner looked",
}
_FOR = _AGAINST | {
    "entropy": "few other words were as likely ({value:.1f} nats of entropy)",
    "prior": "many captions name such a thing",
    "flatness": "the captioner looked at one place",
    "agreement": "attention and Grad-CAM point to one place",
    "score": "the whole caption has a high score",
}


def is_languages(
    chances: Float[np.ndarray, " N"], bits: Float[np.ndarray, " N"]
) -> Bool[np.ndarray, " N"]:
    """Doubtful words to which the image adds little: an earlier word may be why they were said."""
    return (chances >= DOUBTED) & (bits < FEW_BITS)


def reason(
    name: ObjectName,
    said: str,
    signals: Mapping[str, float],
    doubter: Doubter,
    chance: float,
    owed: Mapping[str, float] | None = None,
) -> str:
    """One sentence on what speaks most against a word, or for one that is not doubtful.

    Of a doubtful word to which the image adds little and an earlier object word much, that word is
    the reason. Else it is the signal that moves the log odds most, from those of an average word of
    its kind: up where the word is doubtful, or half so and more than the average; down where not.

    Args:
      name: the object word.
      said: how the caption calls it.
      signals: its numbers, the prior among them.
      doubter: what they were weighed by.
      chance: that it is hallucinated.
      owed: bits that it owes to earlier object words; empty where there is none, or nobody asked.
    """
    bits = signals.get("bits", np.inf)
    if owed and is_languages(np.array([chance]), np.array([bits]))[0]:
        strongest = max(owed, key=lambda word: owed[word])
        if owed[strongest] >= LEAST_OWED and strongest != said:
            shown = _AGAINST["bits"].format(value=bits)
            return f"said because {said} usually comes with {strongest}: {shown}"
    added = doubter.added(name, signals)
    against = chance >= DOUBTED or (chance >= BELIEVED and sum(added.values()) > 0)
    speaks = {signal: own if against else -own for signal, own in added.items() if own}
    told = [signal for signal in speaks if speaks[signal] > 0]
    # A signal can also weigh against its usual direction, for want of others, which reads oddly.
    usual = [
        signal
        for signal in told
        if ((signals[signal] - doubter.mean(name, signal)) * DOUBTFUL[signal] > 0) == against
    ]
    if usual:
        most = max(usual, key=lambda signal: speaks[signal])
        likely = np.exp(min(signals["log_probability"], 0.0))
        text = (_AGAINST if against else _FOR)[most].format(value=signals[most], chance=likely)
        return text if against else f"for it: {text}"
    if not against:
        return f"nothing much against {said}"
    if not told:
        return f"nothing tells {said} from other words"
    most = max(told, key=lambda signal: speaks[signal])
    shown = f"{signals[most]:.2f}, and {doubter.mean(name, most):.2f} on average"
    return f"{most.replace('_', ' ')} of {said} is {shown}"
