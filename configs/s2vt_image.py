"""Caption-guided saliency's captioner (Ramanishka et al. 2017) on the photographs of Flickr30k.

Command:   python train.py --config=configs/s2vt_image.py --workdir=runs/s2vt_image
           python train.py --config=configs/s2vt_image.py --config.data.name=flickr8k
Data:      <data>/flickr30k (`python -m capjax.data where flickr30k` says what to fetch) and
           <data>/../weights/classify_image_graph_def.pb, from inception-2015-12-05.tgz
           (download.tensorflow.org/models/image/imagenet/; its sha256 is not known here)
Hardware:  one GPU of 8 GB; the feature cache takes up to 8 GB of disk
Time:      not measured
Score:     not measured; the paper reports METEOR 0.183

One LSTM reads the 8 × 8 cells of mixed_10 row by row, as a clip's frames, and writes the
sentence: each cell is a descriptor whose evidence for each word can be asked for
(`--methods=caption_guided`). Settings and weights as in `configs/msvd.py`. Deviations from the
released code: rows are all read from left to right (`--config.decoder.scan=snake` turns every
second one around); the whole photograph is squashed to 299 × 299, where the code takes the middle
seven eighths of the central square.
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
        decoder=decoder_section("s2vt", **CGS),
        data=DataConfig(name="flickr30k", threshold=1, cap=0, frequency_bias=True, max_length=25),
        loss=LossConfig(doubly_stochastic=0.0),
        optimizer=OptimizerConfig(name="adam", learning_rate=5e-4, schedule="constant"),
        train=LoopConfig(batch_size=100, epochs=10),
        evaluation=EvaluationConfig(
            metric="METEOR", beam=1, published="ramanishka2017,ramanishka2017_soft"
        ),
    )
