"""Soft attention over ResNet-101 on COCO, as the widely used PyTorch tutorial builds it.

Command:   python train.py --config=configs/s0_coco.py --workdir=runs/s0_coco
Data:      <data>/coco (`python -m capjax.data where coco` says what to fetch) and
           <data>/../weights/resnet101.safetensors (`model.safetensors` of the Hugging Face hub's
           timm/resnet101.tv_in1k; or --config.encoder.weights=hf:timm/resnet101.tv_in1k)
Hardware:  one GPU of 16 GB; the feature cache takes about 95 GB of disk
           (--config.data.cache_features=False encodes anew instead)
Time:      not measured
Score:     not measured; for orientation, the captioner whose counterfactuals this config is for
           reported BLEU-1 to BLEU-4 of 0.700, 0.523, 0.382 and 0.273 on a split of its own

A 14 x 14 map of 2,048 channels (photographs of 256 x 256 pixels, adaptive average pooling), the
decoder with a vector gate and a linear output, element-wise clipping at 5, Adam at 4e-4 times 0.8
every 8 epochs. Deviations: that report names no encoder, ResNet-101 is the tutorial's; the rate
decays on schedule instead of when BLEU stalls; BLEU is of decoded captions, not of teacher-forced
ones.
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
        encoder=encoder_section(
            "resnet", depth=101, pool=(14, 14), weights="resnet101.safetensors"
        ),
        decoder=decoder_section("attention_lstm", hidden=512, **SGRVINOD),
        data=DataConfig(name="coco", threshold=6, cap=0, max_length=50, image_size=256),
        loss=LossConfig(reduce="token", doubly_stochastic=1.0, doubly_stochastic_reduce="mean"),
        optimizer=OptimizerConfig(
            name="adam",
            learning_rate=4e-4,
            schedule="step",
            decay_rate=0.8,
            decay_steps=8 * 17_711,  # updates of an epoch: 566,747 captions in batches of 32
            clip_value=5.0,
        ),
        train=LoopConfig(batch_size=32, epochs=40),
        evaluation=EvaluationConfig(
            metric="BLEU-4", patience=20, beam=5, length_penalty=0.0, published="fosado"
        ),
    )
