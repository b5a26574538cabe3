"""The encoder of the video configs: single frames of moving scenes, described from a mean.

The decoder sees only the mean of the map, so that the mean comes to hold all that a reader of clips
needs of a frame. This model ships as `scenes-frames`, its weights rounded to half precision:
    capjax.load("runs/scenes_frames").save("capjax/checkpoints/scenes-frames", storage="float16")

Command:   python train.py --config=configs/scenes_frames.py --workdir=runs/scenes_frames
Data:      none to fetch; frames are rendered
Hardware:  two CPU cores
Time:      9 minutes, beside other work
Score:     validation, beam 3: BLEU-4 0.857, METEOR 0.586 (seed 0)
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
        decoder=decoder_section("lstm", hidden=192, embedding=64),
        data=DataConfig(
            name="moving_frames",
            train_images=100_000,
            validation_images=500,
            threshold=1,
            max_length=16,
            image_size=64,
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
        train=LoopConfig(batch_size=64, steps=2500, checkpoint_every=1000),
        evaluation=EvaluationConfig(metric="BLEU-4", every=1250, images=200),
    )
