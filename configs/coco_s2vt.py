"""S2VT on a COCO subset: the 7x7 grid is read row by row, from frozen MobileNet features.

Command:   python train.py --config=configs/coco_s2vt.py --workdir=runs/coco_s2vt
Data:      <data>/coco (2,187 training photographs of 256 px, captions_{train,val}.json),
           <data>/../weights/mobilenet_v1_1.0_224.npz
Hardware:  two CPU cores
Time:      15 minutes beside other work (12 of processor time), from cached features
Score:     validation, beam 3: BLEU-4 0.154, METEOR 0.174, CIDEr 0.376 (seed 0); trained again on
           another machine, by newer code: BLEU-4 0.170, METEOR 0.178, CIDEr 0.411
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
            "s2vt", hidden=512, embedding=256, input_dropout=0.2, hidden_dropout=0.4
        ),
        data=DataConfig(name="coco_shared", threshold=4, cap=0, max_length=20),
        loss=LossConfig(doubly_stochastic=0.0, lone_position=0.3),
        optimizer=OptimizerConfig(
            name="adam", learning_rate=1e-3, schedule="cosine", warmup_steps=100, clip_norm=1.0
        ),
        train=LoopConfig(batch_size=64, epochs=12),
        evaluation=EvaluationConfig(metric="CIDEr", beam=3, length_penalty=1.0),
    )
