"""The original S2VT (Venugopalan et al. 2015): two LSTMs over the frames of clips.

Command:   python train.py --config=configs/s2vt_video.py --workdir=runs/s2vt_video
           python train.py --config=configs/s2vt_video.py --config.data.name=msrvtt
Data:      <data>/msvd or <data>/msrvtt (`python -m capjax.data where`) and
           <data>/../weights/classify_image_graph_def.pb, from inception-2015-12-05.tgz
           (download.tensorflow.org/models/image/imagenet/; its sha256 is not known here)
Hardware:  one GPU of 8 GB; the cache of frame means takes 0.2 or 1 GB of disk
Time:      not measured
Score:     not measured; the paper reports METEOR 0.292 on MSVD's test split, with VGG features of
           every tenth frame

The lower LSTM reads frames, the upper one words: 1,000 units each, frames and words projected to
500. `configs/msvd.py` has the single LSTM that caption-guided saliency was published with.
Deviations: 26 frames, InceptionV3's features and training as there, so that the two compare,
instead of VGG's and momentum at rate 0.01; sentences of 25 tokens.
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
        decoder=decoder_section("two_layer_s2vt", scan="frames"),
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
