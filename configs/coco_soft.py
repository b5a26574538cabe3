"""Show, Attend and Tell (soft attention) on a COCO subset, from frozen MobileNet features.

Command:   python train.py --config=configs/coco_soft.py --workdir=runs/coco_soft
Data:      <data>/coco (2,187 training photographs of 256 px, captions_{train,val}.json),
           <data>/../weights/mobilenet_v1_1.0_224.npz
Hardware:  two CPU cores
Time:      15 minutes from cached features, beside other work
Score:     validation, beam 3, mean of seeds 0, 1, 2: BLEU-4 0.210, METEOR 0.202, CIDEr 0.530
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
        encoder=encoder_section("mobilenet", output="block_11", weights="mobilenet_v1_1.0_224.npz"),
        decoder=decoder_section(
            "attention_lstm",
            hidden=512,
            attention=256,
            embedding=256,
            output_dropout=0.3,
            embedding_dropout=0.1,
        ),
        data=DataConfig(name="coco_shared", threshold=4, cap=0, max_length=20),
        loss=LossConfig(doubly_stochastic=1.0, doubly_stochastic_reduce="mean"),
        optimizer=OptimizerConfig(
            name="adam", learning_rate=2e-3, schedule="cosine", warmup_steps=100, clip_norm=1.0
        ),
        train=LoopConfig(batch_size=64, epochs=12),
        evaluation=EvaluationConfig(metric="CIDEr", beam=3, length_penalty=1.0),
    )
