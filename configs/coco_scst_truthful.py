"""Self-critical training of a trained `coco_soft` whose reward takes off for what is not there.

The reward is CIDEr-D less 0.3 for each object word that neither the boxes nor the
references of its photograph have (CHAIR, Rohrbach et al. 2018).

Command:   python train.py --config=configs/coco_scst_truthful.py
               --config.init_from=runs/coco_soft --workdir=runs/coco_scst_truthful
Data:      <data>/coco (2,187 training photographs and instances_train.json); a finished run of
           configs/coco_soft.py
Hardware:  two CPU cores
Time:      3 minutes
Score:     351 validation photographs, seed 0, greedy: CIDEr 0.470 before and 0.525 after, CHAIR-i
           .294 and .225; without the penalty CIDEr 0.482, CHAIR-i .330
"""

import pathlib
import runpy

from capjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    base = pathlib.Path(__file__).with_name("coco_scst.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.data.boxes = "coco/annotations/instances_train.json"
    config.self_critical.hallucination_penalty = 0.3
    config.train.steps = 100
    return config
