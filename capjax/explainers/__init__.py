"""Explanation methods: each one a pure function from given tokens to one map a target.

A method never decodes. It is handed the tokens, reads them once by teacher forcing, and returns
raw signed maps [B N F P] on the feature grid. Every method has the same signature,

    method(net, variables, features, tokens, lengths, weights) -> maps

with tokens [B T] (end token included), lengths [B], and weights [B N T] that say which scalar each
of the N maps explains: the sum over tokens of weight times log-probability.
"""

from capjax.explainers.attention import attention, attention_choice
from capjax.explainers.cams.gradcam import gradcam
from capjax.explainers.caption_guided import caption_guided, caption_guided_kl, word_losses
from capjax.explainers.maps import METHODS
from capjax.explainers.rollout import attention_rollout, rollout

__all__ = [
    "METHODS",
    "attention",
    "attention_choice",
    "attention_rollout",
    "caption_guided",
    "caption_guided_kl",
    "gradcam",
    "rollout",
    "word_losses",
]
