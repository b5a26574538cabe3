"""Attention captioner on ResNet-50, whose loss is averaged with the distance in CLIP's text space.

Command:   python train.py --config=configs/clip_loss.py --workdir=runs/clip_loss
           python train.py --config=configs/clip_loss.py --config.data.name=coco_shared
Data:      <data>/flickr8k (`python -m capjax.data where flickr8k` says what to fetch); the weights
           of ResNet-50 and of CLIP ViT-B/32 come from the hub, once (pip install "capjax[hub]"), or
           from files: --config.encoder.weights=FILE --config.loss.clip_text=FOLDER
Hardware:  one GPU of 8 GB
Time:      not measured
Score:     not measured

    loss = (cross-entropy + mean square of CLIP(reference) - CLIP(caption)) / 2

where CLIP reads the word that the captioner finds likeliest at each place, and the gradient is that
of the mixture of all words (capjax/train/objectives/clip_similarity.py). The mean of squares is
small beside the cross-entropy; --config.loss.lambda_clip weighs it more. The log has both, and the
cosine that captions are compared by, as clip_distance and clip_similarity.

The same similarity as a reward, once this or another captioner has learnt to write:
    python train.py --config=configs/ucm_scst.py --config.init_from=runs/ucm_soft
        --config.self_critical.reward=CLIP
        --config.self_critical.clip_text=hf:openai/clip-vit-base-patch32 --workdir=runs/ucm_clip
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


def get_config() -> ExperimentConfig:
    return ExperimentConfig(
        encoder=encoder_section("resnet", depth=50, weights="hf:timm/resnet50.tv_in1k"),
        decoder=decoder_section(
            "attention_lstm", hidden=512, attention=512, embedding=512, output_dropout=0.5
        ),
        data=DataConfig(name="flickr8k", threshold=5, max_length=25),
        loss=LossConfig(
            doubly_stochastic=0.0, clip_text="hf:openai/clip-vit-base-patch32", lambda_clip=1.0
        ),
        optimizer=OptimizerConfig(
            name="adam", learning_rate=4e-4, schedule="cosine", warmup_steps=200, clip_norm=5.0
        ),
        train=LoopConfig(batch_size=64, epochs=20),
        evaluation=EvaluationConfig(metric="CIDEr", patience=5, beam=3, length_penalty=1.0),
    )
