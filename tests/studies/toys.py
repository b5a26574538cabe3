"""A captioner that writes quickly, for studies that caption and explain."""

import dataclasses
import functools

from capjax.captioner import Captioner
from tests.explainers.toys import attentive


@functools.cache
def greedy(seed: int = 2) -> Captioner:
    """A random captioner with attention whose captions have eight tokens at most."""
    card = {"decoding": {"method": "greedy", "max_length": 8}}
    return dataclasses.replace(attentive(seed), card=card)
