"""Self-critical training (CIDEr-D) of a trained `coco_soft`.

Command:   python train.py --config=configs/coco_scst.py --config.init_from=runs/coco_soft
               --workdir=runs/coco_scst
Data:      <data>/coco (2,187 training photographs); a finished run of configs/coco_soft.py
Hardware:  two CPU cores
Time:      50 minutes on one of two busy cores (36 of its processor time)
Score:     validation CIDEr of 351 photographs, seed 0: greedy 0.464 at the start, 0.523 at the best
           of 20 evaluations (update 650); beam 3 0.529 and 0.533, no gain over its noise

Captions are written greedily while training: draws of one word after the other are what is
rewarded, and what their likelier words gain a beam has found already.
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
    base = pathlib.Path(__file__).with_name("coco_soft.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.init_from = "runs/coco_soft"
    config.self_critical = SelfCriticalConfig(samples=5, baseline="mean", reward="CIDEr")
    config.loss = LossConfig(reduce="token", doubly_stochastic=0.0)
    config.optimizer = OptimizerConfig(name="adam", learning_rate=2e-4, schedule="cosine")
    config.train = LoopConfig(batch_size=32, steps=1000)
    config.evaluation.every = 50
    config.evaluation.beam = 1
    return config
