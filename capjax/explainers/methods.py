"""All methods by name. A new one is a file of its own and one line here."""

from collections.abc import Mapping

from capjax.explainers.attentions.attention import Attention, AttentionChoice
from capjax.explainers.attentions.rollout import Rollout
from capjax.explainers.cams.gradcam import GradCAM
from capjax.explainers.caption_guided import CaptionGuided
from capjax.explainers.contract import Method
from capjax.explainers.gradients.integrated import IntegratedGradients
from capjax.explainers.gradients.relevance import Relevance

METHODS: Mapping[str, Method] = {
    "attention": Attention(),
    "attention_choice": AttentionChoice(),
    "rollout": Rollout(),
    "gradcam": GradCAM(),
    "ig": IntegratedGradients(),
    "lrp": Relevance(),
    "caption_guided": CaptionGuided(),
    "caption_guided_kl": CaptionGuided(kl=True),
}
"""Name -> the method with its default options."""
