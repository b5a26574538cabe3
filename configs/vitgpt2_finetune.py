"""ViT-GPT2 as the hub has it, trained further on one's own captions: encoder, decoder and all.

Command:   python train.py --config=configs/vitgpt2_finetune.py --workdir=runs/vitgpt2
           python train.py --config=configs/vitgpt2_finetune.py --config.data.name=flickr8k
Data:      <data>/coco_shared or any other of `python -m capjax.data where`; the weights come from
           the hub (1 GB, once), or from a folder: --config.init_from=FOLDER
Hardware:  one GPU of 24 GB; on less memory --config.train.accumulate=4 or a smaller batch
Time:      not measured
Score:     not measured; the score before the first update is in metrics.jsonl at step 0

Words are the pretrained model's pieces. Settings are those usual for transformers, not published
ones: AdamW at 5e-5 with a warm-up, gradients clipped to 1, GPT-2's dropout of 0.1.
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
        encoder=encoder_section("vit"),
        decoder=decoder_section("gpt2"),
        data=DataConfig(name="coco_shared", max_length=25, cache_features=False),
        loss=LossConfig(doubly_stochastic=0.0),
        optimizer=OptimizerConfig(
            name="adamw",
            learning_rate=5e-5,
            encoder_learning_rate=5e-5,
            schedule="cosine",
            warmup_steps=100,
            clip_norm=1.0,
            weight_decay=0.01,
        ),
        train=LoopConfig(batch_size=32, epochs=3),
        evaluation=EvaluationConfig(metric="CIDEr", search="huggingface", beam=4, batch_size=16),
        init_from="hf:nlpconnect/vit-gpt2-image-captioning",
    )
