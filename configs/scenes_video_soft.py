"""Soft attention over the frames of moving scenes: a peer of `scenes_video`.

Command:   python train.py --config=configs/scenes_video_soft.py --workdir=runs/scenes_video_soft
Data:      none to fetch; clips are rendered, and their features computed once
Hardware:  two CPU cores
Time:      10 minutes beside other work, 5 of them for the features of the clips
Score:     validation, beam 3: BLEU-4 0.704, METEOR 0.520 (seed 0); decoder of 777,000 parameters
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
            "convnet", weights="scenes-frames", widths=(24, 48, 96), residuals=(0, 1, 2)
        ),
        decoder=decoder_section(
            "attention_lstm", attend="frames", hidden=308, attention=128, embedding=96
        ),
        data=DataConfig(
            name="moving_scenes",
            train_images=10_000,
            validation_images=500,
            threshold=1,
            max_length=24,
            image_size=64,
            frames=26,
            cache_frame_means=True,
        ),
        loss=LossConfig(doubly_stochastic=0.0, lone_position=0.25),
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
