"""Decoding: greedy, sampling and beam search over any step function."""

from capjax.decoding.beam import Beam
from capjax.decoding.decoded import Decoded, Method, Step
from capjax.decoding.generate import generate, never_written
from capjax.decoding.greedy import Greedy
from capjax.decoding.huggingface import HuggingFaceBeam
from capjax.decoding.rules import Decoding, default_decoding, describe
from capjax.decoding.sample import Sample

__all__ = [
    "Beam",
    "Decoded",
    "Decoding",
    "Greedy",
    "HuggingFaceBeam",
    "Method",
    "Sample",
    "Step",
    "default_decoding",
    "describe",
    "generate",
    "never_written",
]
