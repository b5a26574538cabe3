"""All methods by name. A new one is a file of its own and one line here."""

from collections.abc import Mapping

from capjax.explainers.attentions.attention import Attention, AttentionChoice
from capjax.explainers.attentions.relevance import AttentionRelevance
from capjax.explainers.attentions.rollout import Rollout
from capjax.explainers.cams.eigencam import EigenCAM
from capjax.explainers.cams.gradcam import GradCAM
from capjax.explainers.cams.gradcam_plus import GradCAMPlusPlus
from capjax.explainers.cams.hirescam import HiResCAM
from capjax.explainers.cams.layercam import LayerCAM
from capjax.explainers.cams.scorecam import ScoreCAM
from capjax.explainers.caption_guided import CaptionGuided
from capjax.explainers.contract import Method
from capjax.explainers.gradients.expected import ExpectedGradients
from capjax.explainers.gradients.gradient_input import GradientInput
from capjax.explainers.gradients.guided_backprop import GuidedBackprop
from capjax.explainers.gradients.guided_gradcam import GuidedGradCAM
from capjax.explainers.gradients.integrated import IntegratedGradients
from capjax.explainers.gradients.integrated_pixels import IntegratedGradientsPixels
from capjax.explainers.gradients.relevance import Relevance
from capjax.explainers.gradients.saliency import Saliency
from capjax.explainers.gradients.smoothgrad import SmoothGrad, VarGrad
from capjax.explainers.perturbation.leave_one_out import LeaveOneOut
from capjax.explainers.perturbation.lime import LIME
from capjax.explainers.perturbation.occlusion import Occlusion
from capjax.explainers.perturbation.rise import RISE
from capjax.explainers.perturbation.shapley import Shapley

METHODS: Mapping[str, Method] = {
    "attention": Attention(),
    "attention_choice": AttentionChoice(),
    "rollout": Rollout(),
    "chefer": AttentionRelevance(),
    "gradcam": GradCAM(),
    "gradcam_plus": GradCAMPlusPlus(),
    "hirescam": HiResCAM(),
    "layercam": LayerCAM(),
    "scorecam": ScoreCAM(),
    "eigencam": EigenCAM(),
    "ig": IntegratedGradients(),
    "lrp": Relevance(),
    "expected_gradients": ExpectedGradients(),
    "saliency": Saliency(),
    "gradient_input": GradientInput(),
    "ig_pixels": IntegratedGradientsPixels(),
    "smoothgrad": SmoothGrad(),
    "vargrad": VarGrad(),
    "guided_backprop": GuidedBackprop(),
    "guided_gradcam": GuidedGradCAM(),
    "caption_guided": CaptionGuided(),
    "caption_guided_kl": CaptionGuided(kl=True),
    "leave_one_out": LeaveOneOut(),
    "occlusion": Occlusion(),
    "rise": RISE(),
    "shapley": Shapley(),
    "lime": LIME(),
}
"""Name -> the method with its default options."""
