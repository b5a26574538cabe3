"""Caption-guided saliency's captioner (Ramanishka et al. 2017) on the clips of MSVD.

Command:   python train.py --config=configs/msvd.py --workdir=runs/msvd
Data:      <data>/msvd (`python -m capjax.data where msvd` says what to fetch) and
           <data>/../weights/classify_image_graph_def.pb, from inception-2015-12-05.tgz
           (download.tensorflow.org/models/image/imagenet/; its sha256 is not known here)
Hardware:  one GPU of 8 GB; the cache of frame means takes 0.2 GB of disk
Time:      not measured
Score:     not measured; the paper reports METEOR 0.310 on the test split, with InceptionV3 features

One LSTM reads 26 frames, each the mean of its 8 × 8 cells (the graph's pool_3), and writes the
sentence. Settings of the paper and its released code: the InceptionV3 of 2015, 1,300 and 300 units,
dropout 0.5 on inputs and outputs, Adam, output bias at log frequencies, every word of the training
captions, greedy decoding, best METEOR. Deviations: frames are resized to 299 × 299 in one step,
without a detour over 400 × 300; all sentences of a clip validate, not one.

The same weights are in `pt_inception-2015-12-05-6726825d.pth` of github.com/mseitzer/pytorch-fid
(release fid_weights; the name ends with the first digits of its sha256, the rest is not known
here): --config.encoder.weights=FILE
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
        evaluation=EvaluationConfig(
            metric="METEOR", beam=1, published="ramanishka2017,ramanishka2017_soft"
        ),
    )
