"""The captioner of `s1_resnet50` without attention: the mean of ResNet-50's map beside every word.

Command:   python train.py --config=configs/s1_resnet50_lstm.py --workdir=runs/s1_resnet50_lstm
Data:      that of `configs/s1_resnet50.py`
Hardware:  one GPU of 8 GB, or eight CPU cores; the feature cache is that of
           `configs/s1_resnet50.py`
Time:      not measured
Score:     not measured; the report that describes both captioners prints similarities of single
           captions of the one with attention only

What attention is compared with: features, training and decoding are those of
`configs/s1_resnet50.py`, and so is the LSTM, which reads the mean of the 49 positions where that
one reads their weighted sum. It starts from zero instead of from the image, since the report's
first captioner is an embedding, a cell and a layer, and nothing else:
    python -m capjax.experiment.table runs/s1_resnet50 runs/s1_resnet50_lstm
"""

import pathlib
import runpy

from capjax.config import ExperimentConfig, decoder_section


def get_config() -> ExperimentConfig:
    base = pathlib.Path(__file__).with_name("s1_resnet50.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.decoder = decoder_section(
        "lstm",
        inject="every",
        hidden=512,
        embedding=512,
        hidden_dropout=0.5,
        initialisation="uniform",
        forget_bias=0.0,
    )
    return config
