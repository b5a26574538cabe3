"""An inpainter for scenes: holes are objects, and the truth is the scene without them.

Command:   python train.py --config=configs/inpaint_scenes.py --workdir=runs/inpaint_scenes
Data:      none to fetch; scenes are rendered
Hardware:  two CPU cores
Time:      21 minutes of processor time
Score:     PSNR 36.76, SSIM .908, L1 .0161 inside the holes of 200 validation scenes, which is what
           the thin plate has that it starts from: it learns next to nothing, and Navier-Stokes
           (38.01 [36.51, 39.76]) stays ahead. With optimizer.learning_rate=5e-4 it is at 36.83
           after 1,250 updates. Beside other fills:
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
        generator=generator_section(cnum=16, start="plate"),
        discriminator=discriminator_section(width=16),
        data=PictureConfig(
            name="scenes", train_images=20_000, validation_images=200, side=96, grow=5
        ),
        loss=InpaintingLossConfig(adversarial=0.0),
        optimizer=OptimizerConfig(
            name="adam",
            learning_rate=2e-3,
            b2=0.99,
            schedule="cosine",
            warmup_steps=100,
            clip_norm=1.0,
            average_decay=0.998,
        ),
        train=LoopConfig(batch_size=8, steps=3000, checkpoint_every=500),
        evaluation=RestorationConfig(metric="PSNR", every=500, shown=8),
    )
