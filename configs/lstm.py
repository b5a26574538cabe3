"""Show and Tell (Vinyals et al. 2015): a plain LSTM that sees the pooled image once.

Command:   python train.py --config=configs/lstm.py
           python train.py --config=configs/lstm.py --config.data.name=coco
Data:      <data>/flickr8k (`python -m capjax.data where flickr8k` says what to fetch) and
           <data>/../weights/resnet101.safetensors (`model.safetensors` of the Hugging Face hub's
           timm/resnet101.tv_in1k)
Hardware:  one GPU, or eight CPU cores
Time:      estimated, not measured: 20 minutes on Flickr8k on a GPU
Score:     the paper reports BLEU-1 0.63 on Flickr8k's test split with its own encoder

Word vectors: --config.data.glove=FILE --config.decoder.embedding=300 starts from GloVe.
Deviations from the paper: ResNet-101 instead of GoogLeNet, frozen throughout; Adam instead of plain
gradient descent; a beam of 3, as in the authors' later report, instead of 20.
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
        encoder=encoder_section("resnet", depth=101, pool=(1, 1), weights="resnet101.safetensors"),
        decoder=decoder_section(
            "lstm",
            hidden=512,
            embedding=512,
            hidden_dropout=0.5,
            embedding_dropout=0.3,
        ),
        data=DataConfig(name="flickr8k", threshold=5, cap=0, max_length=25),
        loss=LossConfig(reduce="token", doubly_stochastic=0.0),
        optimizer=OptimizerConfig(
            name="adam", learning_rate=4e-4, schedule="cosine", clip_norm=5.0
        ),
        train=LoopConfig(batch_size=64, epochs=20),
        evaluation=EvaluationConfig(metric="BLEU-4", patience=5, beam=3, length_penalty=1.0),
    )
