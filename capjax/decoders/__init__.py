"""Decoders: features in, words out, one step at a time. One file an architecture.

Every decoder is a linen module with four methods and a call:
  start(features, length=None) -> carry, memory: memory holds what no step changes, so that it is
    computed once, never carried through a scan, and shared by all beams of an image; at most
    `length` steps will follow, which says how large a state that grows has to be.
  step(carry, token [B], memory) -> carry, hidden [B Dh], attention [B F P] or None.
  readout(hidden) -> logits [B V], the affine layer whose arrays `head()` returns.
  __call__(features, tokens [B T], keys=None): teacher forcing, equal to a scan of `step`.
"""

from collections.abc import Mapping
from typing import Any

from capjax.decoders.attention_lstm import AttentionLSTM
from capjax.decoders.gpt2 import GPT2
from capjax.decoders.lstm import LSTM
from capjax.decoders.s2vt import S2VT, TwoLayerS2VT

DECODERS = {
    "attention_lstm": AttentionLSTM,
    "gpt2": GPT2,
    "lstm": LSTM,
    "s2vt": S2VT,
    "two_layer_s2vt": TwoLayerS2VT,
}
ADDED: Mapping[str, Mapping[str, Any]] = {"attention_lstm": {"projection": 0}}
"""Decoder -> fields that it got after captioners were first saved, each with the value that keeps
the old behaviour."""


def without_added(described: Mapping[str, Any]) -> dict[str, Any]:
    """A decoder's name and fields, less those of `ADDED` that have the old value.

    A captioner that does not use new fields so keeps its `model.json` and its hash, and its folders
    of results can be continued.
    """
    added = ADDED.get(described["name"], {})
    return {k: v for k, v in described.items() if k not in added or v != added[k]}
