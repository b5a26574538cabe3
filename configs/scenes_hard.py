"""Hard attention (REINFORCE) on rendered scenes: `scenes_soft` but for that.

Command:   python train.py --config=configs/scenes_hard.py --workdir=runs/scenes_hard
Data:      none to fetch; scenes are rendered
"""

from capjax.config import (
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    decoder_section,
    encoder_section,
)
from capjax.train.losses import LossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig


def get_config() -> ExperimentConfig:
    return ExperimentConfig(
        encoder=encoder_section("convnet", widths=(24, 48, 96), residuals=(0, 1, 2)),
        decoder=decoder_section(
            "attention_lstm",
            hard=True,
            hidden=256,
            attention=128,
            embedding=96,
            activation="relu",
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
