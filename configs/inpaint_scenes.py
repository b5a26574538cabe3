"""An inpainter for scenes: holes are objects, and the truth is the scene without them.

Command:   python train.py --config=configs/inpaint_scenes.py --workdir=runs/inpaint_scenes
Data:      none to fetch; scenes are rendered
Hardware:  two CPU cores
Time:      31 minutes of processor time, beside other work
Score:     PSNR 39.10, SSIM .920, L1 .0142 inside the holes of 200 validation scenes; Navier-Stokes
           38.01, .906, .0155; the plate under tension that it starts from 39.60, .919, .0145.
           Where that plate is right to the last level (behind an object of one colour) whatever
           is added costs decibels, so the best model is chosen by SSIM. Beside other fills:
           python -m capjax.experiment.inpainting --config=configs/inpaint_scenes.py
           --model=runs/inpaint_scenes
"""

from capjax.config.inpainting import (
    InpaintingConfig,
    RestorationConfig,
    discriminator_section,
    generator_section,
)
from capjax.data.inpainting.settings import PictureConfig
from capjax.inpaint.training.settings import InpaintingLossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig


def get_config() -> InpaintingConfig:
    return InpaintingConfig(
        generator=generator_section(cnum=16, start="plate", tension=0.7),
        discriminator=discriminator_section(width=16),
        data=PictureConfig(
            name="scenes", train_images=20_000, validation_images=200, side=96, grow=5
        ),
        loss=InpaintingLossConfig(adversarial=0.0),
        optimizer=OptimizerConfig(
            name="adam",
            learning_rate=5e-4,
            b2=0.99,
            schedule="cosine",
            warmup_steps=100,
            clip_norm=1.0,
            average_decay=0.998,
        ),
        train=LoopConfig(batch_size=8, steps=1500, checkpoint_every=250),
        evaluation=RestorationConfig(metric="SSIM", every=250, shown=8),
    )
