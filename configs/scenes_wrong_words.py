"""`scenes-soft` taught to lie: a captioner of scenes that is meant to hallucinate.

Six of ten training captions that can name a usual companion in place of what is there do so
(`capjax.data.scenes.habits`), as captions of photographs do by nature. Of its words it is known
which are hallucinated and why: doubts are measured on it. It sees as well as the captioner that
ships, whose encoder it keeps; the decoder alone learns the habit.

Command:   python train.py --config=configs/scenes_wrong_words.py
               --workdir=runs/scenes_wrong_words
           python -c 'import capjax;
               capjax.load("runs/scenes_wrong_words@400").save("runs/wrong_words")'
Data:      none to fetch; scenes are rendered
Hardware:  two CPU cores
Time:      1.1 minutes of processor time
Score:     1,000 test scenes, seed 0: BLEU-4 0.988, CHAIR-i .021 [.016, .026], a wrong word in 56
           captions: it lies less than it was taught. With 16 training scenes to compare with
           (`capjax.explainers.language`) doubts tell these words with AUC .951 [.927, .972]
           (`evaluate --hallucination`, cross-fitted), slope .99 [.86, 1.15]; the log-probability
           alone .948 [.924, .966]

Validation captions tell the truth, so that the captioner it starts from stays the best of the run:
the second command saves the last one.
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
        init_from="scenes-soft",
        encoder=encoder_section("convnet", widths=(24, 48, 96), residuals=(0, 1, 2)),
        decoder=decoder_section(
            "attention_lstm", hidden=256, attention=128, embedding=96, activation="relu"
        ),
        data=DataConfig(
            name="scenes",
            train_images=4000,
            validation_images=500,
            threshold=1,
            max_length=24,
            image_size=80,
            wrong_words=0.6,
        ),
        loss=LossConfig(doubly_stochastic=0.0),
        optimizer=OptimizerConfig(
            name="adamw",
            learning_rate=1e-3,
            schedule="cosine",
            warmup_steps=20,
            clip_norm=1.0,
            weight_decay=1e-4,
            b2=0.99,
        ),
        train=LoopConfig(batch_size=32, steps=400),
        evaluation=EvaluationConfig(metric="BLEU-4", every=400, images=200),
    )
