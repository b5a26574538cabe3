"""The gated inpainter as published (Yu et al. 2019, DeepFill v2), on Places, CelebA or COCO.

Command:   python train.py --config=configs/inpaint.py --workdir=runs/inpaint
           CelebA: --config.data.name=celeba; COCO: --config.data.name=coco, of which
           --config.data.licences=4,5,7 leaves photographs that may be changed and given on; a
           folder of your own: --config.data.name= --config.data.images=FOLDER; faces that fill
           their pictures, as CelebA-HQ's: --config.data.resize=squash; what TFDS has prepared:
           --config.data.name=tfds:FOLDER
Data:      Places365, 1.8 million photographs: `python -m capjax.data where places365`
Hardware:  accelerators; --config.generator.dtype=bfloat16
           --config.discriminator.dtype=bfloat16 where they are faster so
Time:      not measured; the steps are a guess, the authors say until it converges
Score:     not measured

As released: 1 and 1 for both losses, Adam at 1e-4 with moments .5 and .999 for both players, 16
pictures an update, holes of a rectangle and strokes of a brush together. Differences, which
`capjax.inpaint.training.players` and `capjax.train.adversarial.step` explain: every picture has its
own hole, and both players learn from the same batch.
"""

import dataclasses

from capjax.config.inpainting import (
    InpaintingConfig,
    RestorationConfig,
    discriminator_section,
    generator_section,
)
from capjax.data.inpainting.settings import PictureConfig
from capjax.inpaint.training.settings import HoleConfig, InpaintingLossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig

ADAM = OptimizerConfig(name="adam", learning_rate=1e-4, b1=0.5, b2=0.999, schedule="constant")


def get_config() -> InpaintingConfig:
    return InpaintingConfig(
        generator=generator_section(cnum=48),
        discriminator=discriminator_section(width=64),
        data=PictureConfig(name="places365", side=256),
        holes=HoleConfig(kind="both"),
        loss=InpaintingLossConfig(known=1.0, adversarial=1.0),
        optimizer=dataclasses.replace(ADAM),
        discriminator_optimizer=dataclasses.replace(ADAM),
        train=LoopConfig(batch_size=16, steps=1_000_000, checkpoint_every=4000, log_every=50),
        evaluation=RestorationConfig(metric="PSNR", every=4000, images=500, shown=8),
    )
