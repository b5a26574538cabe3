"""ViT-GPT2 as the hub has it, without any training: Model-2 of a comparison of captioners.

Command:   python train.py --config=configs/s1_vitgpt2.py --workdir=runs/s1_vitgpt2
           python explain.py --model=hf:nlpconnect/vit-gpt2-image-captioning --images=FOLDER
               --out=OUT --methods=attention,rollout,gradcam,caption_guided
Data:      <data>/coco_shared or any other of `python -m capjax.data where`; the weights come from
           the hub (1 GB, once), or from a folder: --config.init_from=FOLDER
Hardware:  two CPU cores, or one GPU of 8 GB
Time:      not measured
Score:     not measured

Captions are those of transformers: beam 4, at most 16 tokens with the start token. The run scores
the validation split and leaves the captioner in its workdir, so that every tool reads it there.
"""

import pathlib
import runpy

from capjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    base = pathlib.Path(__file__).with_name("vitgpt2_finetune.py")
    config: ExperimentConfig = runpy.run_path(str(base))["get_config"]()
    config.data.max_length = 15
    config.train.epochs = 0
    config.optimizer.schedule = "constant"
    config.optimizer.warmup_steps = 0
    return config
