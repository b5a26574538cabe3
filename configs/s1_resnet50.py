"""Soft attention over ResNet-50's 7 x 7 map on Flickr8k.

Command:   python train.py --config=configs/s1_resnet50.py --workdir=runs/s1_resnet50
Data:      <data>/flickr8k (`python -m capjax.data where flickr8k` says what to fetch) and
           <data>/../weights/resnet50.safetensors (`model.safetensors` of the Hugging Face hub's
           timm/resnet50.tv_in1k; or --config.encoder.weights=hf:timm/resnet50.tv_in1k). CLIP
           ViT-B/32 comes from the hub, once (pip install "capjax[hub]"), or from a folder:
           --config.evaluation.clip_text=FOLDER
Hardware:  one GPU of 8 GB, or eight CPU cores; the feature cache takes 1.6 GB of disk
Time:      not measured
Score:     not measured; the report that describes this captioner prints similarities of single
           captions only

Attention over 49 positions of 2,048 channels, its context beside the word's embedding into an LSTM
cell, a linear output with dropout, Adam. That report is silent on all else: 512 units and dropout
of 0.5 are those of `configs/s0_coco.py`; the rate, batches of 64, words that occur five times, a
gradient norm of at most 5 and no doubly-stochastic term are chosen here. As there, captions are
compared by the cosine of CLIP's text embeddings, with the mean over an image's references.
"""

from capjax.config import (
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    LoopConfig,
    LossConfig,
    OptimizerConfig,
    decoder_section,
    encoder_section,
)
from capjax.decoders.attention_lstm import SGRVINOD


def get_config() -> ExperimentConfig:
    return ExperimentConfig(
        encoder=encoder_section("resnet", depth=50, weights="resnet50.safetensors"),
        decoder=decoder_section(
            "attention_lstm", hidden=512, **{**SGRVINOD, "gate": "none", "activation": "tanh"}
        ),
        data=DataConfig(name="flickr8k", threshold=5, cap=0, max_length=40),
        loss=LossConfig(reduce="token", doubly_stochastic=0.0),
        optimizer=OptimizerConfig(
            name="adam", learning_rate=3e-4, schedule="constant", clip_norm=5.0
        ),
        train=LoopConfig(batch_size=64, epochs=25),
        evaluation=EvaluationConfig(
            metric="CLIP-text",
            clip_text="hf:openai/clip-vit-base-patch32",
            patience=5,
            beam=3,
            length_penalty=1.0,
        ),
    )
