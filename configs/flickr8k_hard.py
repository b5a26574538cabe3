"""Show, Attend and Tell with hard attention, on Flickr8k, selected by METEOR.

Command:   python train.py --config=configs/flickr8k_hard.py --workdir=runs/flickr8k_hard
Data:      that of `configs/flickr8k_soft.py`
Hardware:  one GPU of 8 GB; METEOR needs Java
Time:      not measured
Score:     not measured; on the test split the paper reports BLEU-1 0.670 and METEOR 0.203

`configs/flickr8k_soft.py` with the hard attention of `configs/hard.py`. `configs/s4_hard.py` has a
ResNet.
"""

import pathlib
import runpy

from capjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    base = pathlib.Path(__file__).with_name("flickr8k_soft.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.decoder.hard = True
    config.loss.doubly_stochastic = 0.0
    config.loss.lambda_r, config.loss.lambda_e = 0.1, 0.002
    config.evaluation.published = "xu2015_hard"
    return config
