"""Why an object word was said though it is probably not there, in words."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from capjax.studies.doubt.doubter import Doubter
from capjax.studies.doubt.object_names import ObjectName
from capjax.studies.doubt.signals import DOUBTFUL

FEW_BITS = 1.0
"""Fewer do not make a word the image's; see `visual_information.THRESHOLD`."""
LEAST_OWED = 0.5
"""Bits that an earlier word must add to be named as the reason."""

_TEXTS = {
    "log_probability": "its probability is {chance:.0%}",
    "entropy": "many other words were about as likely ({value:.1f} nats of entropy)",
    "prior": "few captions name such a thing",
    "bits": "{value:.1f} bits from the picture",
    "flatness": "the captioner looked everywhere at once",
    "agreement": "attention and Grad-CAM point to different places",
    "stability": "{value:.0%} of sampled captions name it",
    "score": "the whole caption has a low score",
}


def reason(
    name: ObjectName,
    words: Sequence[str],
    signals: Mapping[str, float],
    doubter: Doubter,
    owed: Float[np.ndarray, " N"] | None,
) -> str:
    """One sentence on what speaks most against a word.

    Where the image adds little and an earlier word much, that word is the reason; else it is the
    signal that adds most to the log odds.

    Args:
      name: the object word.
      words: of the caption.
      signals: its numbers, the prior among them.
      doubter: what they were weighed by.
      owed: bits that it owes to each word of the caption, 0 for itself and later ones; None where
        nobody asked.
    """
    said = " ".join(words[name.start : name.end])
    bits = signals.get("bits")
    if bits is not None and bits < FEW_BITS and owed is not None and len(owed):
        strongest = int(np.argmax(owed))
        if owed[strongest] >= LEAST_OWED:
            shown = _TEXTS["bits"].format(value=bits)
            return f"said because {said} usually comes with {words[strongest]}: {shown}"
    added = {
        signal: weight * (signals[signal] - mean) / scale
        for signal, weight, mean, scale in zip(
            doubter.signals, doubter.weights, doubter.means, doubter.scales, strict=True
        )
        if signal in DOUBTFUL
    }
    most = max(added, key=lambda signal: added[signal])
    if added[most] <= 0:
        return f"nothing speaks against {said}"
    value = signals[most]
    # A signal can also weigh against its usual direction, for want of others: say only the number.
    mean = doubter.means[doubter.signals.index(most)]
    if (value - mean) * DOUBTFUL[most] < 0:
        return f"{most.replace('_', ' ')} of {said} is {value:.2f}, and {mean:.2f} on average"
    return _TEXTS[most].format(value=value, chance=np.exp(min(signals["log_probability"], 0.0)))
