"""Hard attention (REINFORCE) on rendered scenes: `scenes_soft` but for that.

Command:   python train.py --config=configs/scenes_hard.py --workdir=runs/scenes_hard
Data:      none to fetch; scenes are rendered
Hardware:  two CPU cores
Time:      20 minutes on one core
Score:     validation, beam 3, expected context: BLEU-4 0.872, METEOR 0.601, CIDEr 8.38 (seed 0)
"""

import pathlib
import runpy

from capjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    base = pathlib.Path(__file__).with_name("scenes_soft.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.decoder.hard = True
    config.loss.doubly_stochastic = 0.0
    config.loss.lambda_r, config.loss.lambda_e = 0.1, 0.002
    return config
