"""Caption-guided saliency's captioner (Ramanishka et al. 2017) on the clips of MSR-VTT.

Command:   python train.py --config=configs/msrvtt.py --workdir=runs/msrvtt
Data:      <data>/msrvtt (`python -m capjax.data where msrvtt` says what to fetch) and
           <data>/../weights/classify_image_graph_def.pb, from inception-2015-12-05.tgz
           (download.tensorflow.org/models/image/imagenet/; its sha256 is not known here)
Hardware:  one GPU of 8 GB; the cache of frame means takes 1 GB of disk
Time:      not measured
Score:     not measured; the paper reports METEOR 0.259 on the test split, with InceptionV3 features

Settings and deviations as in `configs/msvd.py`.
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
from capjax.decoders.s2vt import CGS


def get_config() -> ExperimentConfig:
    return ExperimentConfig(
        encoder=encoder_section(
            "inception_v3", variant="tf2015", weights="classify_image_graph_def.pb"
        ),
        decoder=decoder_section("s2vt", scan="frames", **CGS),
        data=DataConfig(
            name="msrvtt",
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
        evaluation=EvaluationConfig(
            metric="METEOR", beam=1, published="ramanishka2017,ramanishka2017_soft"
        ),
    )
