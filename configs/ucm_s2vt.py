"""S2VT on UCM-Captions: the 7x7 grid is read row by row, from frozen MobileNet features.

Command:   python train.py --config=configs/ucm_s2vt.py --workdir=runs/ucm_s2vt
Data:      <data>/ucm (1,680 training photographs), <data>/../weights/mobilenet_v1_1.0_224.npz
Hardware:  two CPU cores
Time:      5 minutes of processor time from cached features
Score:     validation, beam 3: BLEU-4 0.673, METEOR 0.467, CIDEr 3.40 (seed 0)
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
        encoder=encoder_section("mobilenet", output="block_13", weights="mobilenet_v1_1.0_224.npz"),
        decoder=decoder_section(
            "s2vt", hidden=512, embedding=256, input_dropout=0.2, hidden_dropout=0.5
        ),
        data=DataConfig(name="ucm", threshold=1, cap=0, max_length=20),
        loss=LossConfig(doubly_stochastic=0.0),
        optimizer=OptimizerConfig(
            name="adam", learning_rate=2e-3, schedule="cosine", warmup_steps=50, clip_norm=1.0
        ),
        train=LoopConfig(batch_size=64, epochs=6),
        evaluation=EvaluationConfig(metric="CIDEr", beam=3, length_penalty=1.0),
    )
