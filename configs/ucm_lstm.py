"""Show and Tell (a plain LSTM, no attention) on UCM-Captions, from the features of `ucm_soft`.

Command:   python train.py --config=configs/ucm_lstm.py --workdir=runs/ucm_lstm
Data:      <data>/ucm (1,680 training photographs), <data>/../weights/mobilenet_v1_1.0_224.npz
Hardware:  two CPU cores
Time:      4 minutes of processor time
Score:     validation, beam 3, mean of seeds 0, 1, 2 with the 95 % interval over seeds: BLEU-4 0.622
           (± 0.038), METEOR 0.434 (± 0.013), CIDEr 3.19 (± 0.11)
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
            "lstm", hidden=512, embedding=256, hidden_dropout=0.5, embedding_dropout=0.3
        ),
        data=DataConfig(name="ucm", threshold=1, cap=0, max_length=20),
        loss=LossConfig(doubly_stochastic=0.0),
        optimizer=OptimizerConfig(name="adam", learning_rate=1e-3, schedule="cosine"),
        train=LoopConfig(batch_size=64, epochs=6),
        evaluation=EvaluationConfig(metric="CIDEr", beam=3, length_penalty=1.0),
    )
