"""The mean of a clip's frames beside every word: equation 3 of Ramanishka et al. (2017).

Command:   python train.py --config=configs/mean_video.py --workdir=runs/mean_video
           python train.py --config=configs/mean_video.py --config.data.name=msrvtt
Data:      that of `configs/msvd.py`, or <data>/msrvtt (`python -m capjax.data where msrvtt`)
Hardware:  one GPU of 8 GB; the cache of frame means is that of `configs/msvd.py`, or of
           `configs/msrvtt.py`
Time:      not measured
Score:     not measured; the paper's table has no row for it

The third captioner that the paper describes, beside S2VT (`configs/msvd.py`) and soft attention
(`configs/soft_video.py`): a clip is z, the average of all descriptors, and the LSTM reads it with
the previous word at every step. Features, training, decoding and sizes are those of
`configs/msvd.py`. Mean pooling as first published (Venugopalan et al., Translating Videos to
Natural Language, 2015) had two LSTMs on features of AlexNet.
"""

import pathlib
import runpy

from capjax.config import ExperimentConfig, decoder_section


def get_config() -> ExperimentConfig:
    base = pathlib.Path(__file__).with_name("msvd.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.decoder = decoder_section(
        "lstm",
        inject="every",
        start_input="zero",
        hidden=1300,
        embedding=300,
        embedding_dropout=0.5,
        hidden_dropout=0.5,
        initialisation="glorot",
    )
    return config
