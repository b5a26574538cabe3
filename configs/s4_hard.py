"""Hard attention over ResNet-101 on Flickr8k, selected by METEOR: *Show, Attend and Tell* again.

Command:   python train.py --config=configs/s4_hard.py --workdir=runs/s4_hard
Data:      that of `configs/s4_soft.py`
Hardware:  one GPU of 16 GB; the feature cache is that of `configs/s4_soft.py`. METEOR needs Java
Time:      not measured
Score:     not measured; the reproduction that this config follows reports BLEU-1 0.432 and METEOR
           0.208, the paper with VGG-19 0.670 and 0.203 on the test split

`configs/s4_soft.py` with the hard attention of `configs/hard.py`. The poster prints REINFORCE with
a moving baseline and an entropy term, and no numbers: they are those of the paper's released code.
"""

import pathlib
import runpy

from capjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    base = pathlib.Path(__file__).with_name("s4_soft.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.decoder.hard = True
    config.loss.doubly_stochastic = 0.0
    config.loss.lambda_r, config.loss.lambda_e = 0.1, 0.002
    config.evaluation.published = "brenner_hard"
    return config
