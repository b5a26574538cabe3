"""Self-critical training (CIDEr-D) of a trained `ucm_soft`.

Command:   python train.py --config=configs/ucm_scst.py --config.init_from=runs/ucm_soft
               --workdir=runs/ucm_scst
Data:      <data>/ucm (1,680 training photographs); a finished run of configs/ucm_soft.py
Hardware:  two CPU cores
Time:      not measured to the end: 154 of 400 updates on a busy machine
Score:     validation CIDEr, beam 3: 3.566 at the start, 3.560 after 50 updates, 3.592 after 100,
           3.558 after 150 (seed 0): no gain over the noise of 210 photographs, while the reward of
           drawn captions went from 3.43 to 3.59
"""

import pathlib
import runpy

from capjax.config import (
    ExperimentConfig,
    LoopConfig,
    LossConfig,
    OptimizerConfig,
    SelfCriticalConfig,
)


def get_config() -> ExperimentConfig:
    base = pathlib.Path(__file__).with_name("ucm_soft.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.init_from = "runs/ucm_soft"
    config.self_critical = SelfCriticalConfig(samples=5, baseline="mean", reward="CIDEr")
    config.loss = LossConfig(reduce="token", doubly_stochastic=0.0)
    config.optimizer = OptimizerConfig(name="adam", learning_rate=5e-5, schedule="constant")
    config.train = LoopConfig(batch_size=64, steps=400)
    config.evaluation.every = 50
    return config
