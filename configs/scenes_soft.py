"""The captioner that ships with capjax as `scenes-soft`: soft attention on rendered scenes.

Command:   python train.py --config=configs/scenes_soft.py --workdir=runs/scenes_soft
Data:      none to fetch; scenes are rendered
Hardware:  two CPU cores
Time:      22 minutes, beside other work
Score:     validation, beam 3: BLEU-4 0.991, METEOR 0.781, CIDEr 9.86 (seed 0); test: BLEU-4 0.994

What ships is this model with its weights rounded to half precision, which changes no score:
    capjax.load("runs/scenes_soft").save("capjax/checkpoints/scenes-soft", storage="float16")
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
        encoder=encoder_section("convnet", widths=(24, 48, 96), residuals=(0, 1, 2)),
        decoder=decoder_section(
            "attention_lstm", hidden=256, attention=128, embedding=96, activation="relu"
        ),
        data=DataConfig(
            name="scenes",
            train_images=50_000,
            validation_images=500,
            threshold=1,
            max_length=24,
            image_size=80,
            keep_megabytes=2048,
        ),
        loss=LossConfig(doubly_stochastic=0.0),
        optimizer=OptimizerConfig(
            name="adamw",
            learning_rate=3e-3,
            encoder_learning_rate=3e-3,
            schedule="cosine",
            warmup_steps=50,
            clip_norm=1.0,
            weight_decay=1e-4,
            b2=0.99,
        ),
        train=LoopConfig(batch_size=32, steps=10_000, checkpoint_every=1000),
        evaluation=EvaluationConfig(metric="BLEU-4", every=2500, images=200),
    )
