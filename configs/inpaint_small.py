"""A small inpainter for two processor cores, whose weights may be given on: it can ship.

It learns from those of the shared photographs whose licence permits derivatives (567 of 2,187: CC
BY, CC BY-SA, no known restrictions), and is meant to be nearer to what was there than mean, blur
and the classical fills. So nothing rewards it for inventing: no discriminator, only absolute
errors, and both stages add to a thin plate, without tension, over the hole. Parts of 64 px of
photographs whose shorter side is 76 px; holes are a rectangle or strokes, by turns.

Command:   python train.py --config=configs/inpaint_small.py --workdir=runs/inpaint_small
Data:      <data>/coco, 567 training and 92 validation photographs by their licences
Hardware:  two CPU cores
Time:      29 minutes of processor time beside other work, 0.65 seconds an update
Score:     PSNR 18.97, SSIM .543, L1 .0933 inside the holes of the 92 validation parts of 64 px.
           In parts of 96 px (data.side=96, data.shorter=112) PSNR 18.36, SSIM .503, L1 .0981; the
           thin plate it starts from has 18.22, .505, .0993 there, one under tension (the fill
           `plate`) 18.45, .507, .0977, OpenCV's Navier-Stokes 17.29, .472, .1041, a blur 16.77,
           .413, .1203, the mean 12.68, .271, .2061. Beside other fills, in the holes that it is
           validated on:
           python -m capjax.experiment.inpainting --config=configs/inpaint_small.py
           --model=inpaint-small

What ships is this model with its weights in half precision and `ABOUT` in its card:
    inpainter = load_inpainter("runs/inpaint_small")
    card = {**inpainter.card, **runpy.run_path("configs/inpaint_small.py")["ABOUT"]}
    shipped = dataclasses.replace(inpainter, card=card)
    shipped.save("capjax/checkpoints/inpaint-small", storage="float16")
"""

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

ABOUT = {
    "about": "A small inpainter that continues what is around a hole; it invents nothing sharp.",
    "learnt_from": "567 photographs of COCO val2017 (Karpathy's restval split) under CC BY 2.0, "
    "CC BY-SA 2.0 or without known copyright restrictions, longest side 256 px.",
    "licences": {
        "photographs": "each under its own of these licences, named in COCO's annotations; none "
        "is in this package",
        "inpainter": "Apache-2.0, as capjax",
    },
}
"""What the card of the shipped inpainter says beside where it comes from and its scores."""


def get_config() -> InpaintingConfig:
    return InpaintingConfig(
        generator=generator_section(cnum=16, start="plate"),
        discriminator=discriminator_section(width=16),
        data=PictureConfig(
            name="coco_shared", licences="4,5,7", side=64, resize="shorter", shorter=76
        ),
        holes=HoleConfig(kind="either"),
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
        train=LoopConfig(batch_size=8, steps=2500, checkpoint_every=500),
        evaluation=RestorationConfig(metric="PSNR", every=500, shown=8),
    )
