"""A surrogate of `scenes-soft`: learns what that captioner says of clean and of attacked scenes.

Our reading of a second step that seed texts only sketch: "adversarial examples … used to train an
additional model"; see docs/studies/surrogate.md.

Command:   python train.py --config=configs/adversarial_surrogate.py --workdir=runs/surrogate
Data:      made in two steps:
           python -m capjax.data.scenes --out=runs/scenes --n=6000 --split=train
           python -m capjax.studies pairs --model=scenes-soft --images=runs/scenes/images
               --out=runs/pairs --attack=pgd+steps=5 --epsilon=8 --batch-size=64
Hardware:  two CPU cores
Time:      5 minutes of processor time; making the pairs takes 8
Score:     200 test scenes: CIDEr 8.25 against the captions of `scenes-soft`, 58 % of them equal
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
        encoder=encoder_section("convnet", widths=(16, 32, 64), residuals=(0, 1, 2)),
        decoder=decoder_section(
            "attention_lstm", hidden=192, attention=96, embedding=96, activation="relu"
        ),
        data=DataConfig(
            captions="runs/pairs/captions.json",
            threshold=1,
            max_length=24,
            image_size=80,  # of the pairs: any other would be resized, which undoes an attack
            resize="squash",
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
        train=LoopConfig(batch_size=32, steps=3000, checkpoint_every=1000),
        evaluation=EvaluationConfig(metric="CIDEr", every=1500, images=200),
    )
