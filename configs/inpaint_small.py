"""A small inpainter for two processor cores, whose weights may be given on: it can ship.

It learns from those of the shared photographs whose licence permits derivatives (567 of 2,187: CC
BY, CC BY-SA, no known restrictions), and is meant to be nearer to what was there than mean, blur
and the classical fills. So nothing rewards it for inventing: no discriminator, only absolute
errors, and both stages add to a thin plate over the hole. Parts of 96 px of photographs whose
shorter side is 112 px; holes are a rectangle or strokes, by turns.

Command:   python train.py --config=configs/inpaint_small.py --workdir=runs/inpaint_small
Data:      <data>/coco, 567 training and 92 validation photographs by their licences
Hardware:  two CPU cores
Time:      not measured to the end; on loaded cores an update of eight parts of 64 px took about
           0.6 seconds of processor time, after three minutes of it to compile
Score:     not measured to the end. The thin plate it starts from has, inside the holes of the 92
           validation parts, PSNR 18.22, SSIM .505, L1 .099 (OpenCV's Navier-Stokes 17.29, .472,
           .104). Training adds to it slowly: on parts of 64 px (data.shorter=76), at a rate of
           5e-4, .004, .027 and .042 dB after 200, 300 and 400 updates, and on those parts the
           plate is .3 dB above scikit-image's biharmonic fill. Least squares on the smooth fills
           gain .1 dB, so a run that is worth shipping has to gain more. Beside other fills, in
           the holes that it is validated on:
           python -m capjax.experiment.inpainting --config=configs/inpaint_small.py
           --model=runs/inpaint_small

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
            name="coco_shared", licences="4,5,7", side=96, resize="shorter", shorter=112
        ),
        holes=HoleConfig(kind="either"),
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
        train=LoopConfig(batch_size=8, steps=3400, checkpoint_every=500),
        evaluation=RestorationConfig(metric="PSNR", every=500, shown=8),
    )
