"""Soft attention whose caption-guided maps can be trusted: it has also seen single positions.

The encoder is that of the shipped captioner, frozen; half of the captions are learnt from one
random position of their picture alone.

Command:   python train.py --config=configs/scenes_guided.py --workdir=runs/scenes_guided
Data:      none to fetch; scenes are rendered, and their features computed once
Hardware:  two CPU cores
Time:      5 minutes, features included, beside other work
Score:     validation, beam 3: BLEU-4 0.988, METEOR 0.767 (seed 0); pointing game of caption-guided
           saliency on object words 0.943, random 0.091
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
        encoder=encoder_section(
            "convnet", weights="scenes-soft", widths=(24, 48, 96), residuals=(0, 1, 2)
        ),
        decoder=decoder_section(
            "attention_lstm", hidden=256, attention=128, embedding=96, activation="relu"
        ),
        data=DataConfig(
            name="scenes",
            train_images=20_000,
            validation_images=500,
            threshold=1,
            max_length=24,
            image_size=80,
        ),
        loss=LossConfig(doubly_stochastic=0.0, lone_position=0.5),
        optimizer=OptimizerConfig(
            name="adamw",
            learning_rate=2e-3,
            schedule="cosine",
            warmup_steps=100,
            clip_norm=1.0,
            weight_decay=1e-3,
            b2=0.99,
        ),
        train=LoopConfig(batch_size=64, steps=4000, checkpoint_every=1000),
        evaluation=EvaluationConfig(metric="BLEU-4", every=1000, images=200),
    )
