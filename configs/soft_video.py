"""Soft attention over the frames of clips: the peer of S2VT in Ramanishka et al. (2017), Table 3.

Command:   python train.py --config=configs/soft_video.py --workdir=runs/soft_video
           python train.py --config=configs/soft_video.py --config.data.name=msrvtt
Data:      <data>/msvd or <data>/msrvtt (`python -m capjax.data where`) and
           <data>/../weights/classify_image_graph_def.pb, from inception-2015-12-05.tgz
           (download.tensorflow.org/models/image/imagenet/; its sha256 is not known here)
Hardware:  one GPU of 8 GB; the cache of frame means takes 0.2 or 1 GB of disk
Time:      not measured
Score:     not measured; the paper quotes METEOR 0.300 on MSVD's test split and 0.254 on MSR-VTT's,
           from others, with features of theirs

Features, training and decoding are those of `configs/msvd.py`, so that the two compare; one
annotation vector a frame, the mean of its feature map. The paper does not say what size its
attention had: here 512.
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
            "inception_v3", variant="tf2015", weights="classify_image_graph_def.pb"
        ),
        decoder=decoder_section(
            "attention_lstm",
            attend="frames",
            hidden=1300,
            attention=512,
            embedding=300,
            embedding_dropout=0.5,
            output_dropout=0.5,
        ),
        data=DataConfig(
            name="msvd",
            threshold=1,
            cap=0,
            frequency_bias=True,
            max_length=25,
            frames=26,
            cache_frame_means=True,
        ),
        loss=LossConfig(doubly_stochastic=0.0),
        optimizer=OptimizerConfig(name="adam", learning_rate=5e-4, schedule="constant"),
        train=LoopConfig(batch_size=100, epochs=10),
        evaluation=EvaluationConfig(metric="METEOR", beam=1),
    )
