"""Soft attention over ResNet-101 on Flickr8k, selected by METEOR: *Show, Attend and Tell* again.

Command:   python train.py --config=configs/s4_soft.py --workdir=runs/s4_soft
Data:      <data>/flickr8k (`python -m capjax.data where flickr8k` says what to fetch) and
           <data>/../weights/resnet101.safetensors (`model.safetensors` of the Hugging Face hub's
           timm/resnet101.tv_in1k; or --config.encoder.weights=hf:timm/resnet101.tv_in1k)
Hardware:  one GPU of 16 GB; the feature cache takes 7 GB of disk. METEOR needs Java
Time:      not measured
Score:     not measured; the reproduction that this config follows reports BLEU-1 0.459 and METEOR
           0.190, the paper with VGG-19 0.670 and 0.189 on the test split

That reproduction (Brenner et al., a poster) names a ResNet, an LSTM with attention, the paper's
doubly-stochastic term and selection by METEOR, and is silent on all else. Depth 101 and the 14 × 14
map of photographs of 256 × 256 pixels are those of `configs/s0_coco.py`; all other settings are the
paper's, as in `configs/flickr8k_soft.py`.
"""

import pathlib
import runpy

from capjax.config import ExperimentConfig, encoder_section


def get_config() -> ExperimentConfig:
    base = pathlib.Path(__file__).with_name("flickr8k_soft.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.encoder = encoder_section(
        "resnet", depth=101, pool=(14, 14), weights="resnet101.safetensors"
    )
    config.data.image_size = 256
    config.evaluation.published = "brenner_soft"
    return config
