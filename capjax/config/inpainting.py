"""The typed settings of an experiment that trains an inpainter; see `capjax.config.experiment`."""

import copy
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from capjax.config.experiment import check_finite, to_json
from capjax.config.frozen import freeze
from capjax.config.sections import build_module, check_section, make_section
from capjax.data.inpainting.settings import SCENES, PictureConfig
from capjax.data.sources.datasets import data_root
from capjax.inpaint.discriminator import Discriminator
from capjax.inpaint.inpainter import GENERATORS
from capjax.inpaint.training.players import Inpainting
from capjax.inpaint.training.settings import HoleConfig, InpaintingLossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig
from capjax.train.profiling import parse_span

DISCRIMINATORS = {"patches": Discriminator}
SCORES = ("PSNR", "SSIM")
"""Scores inside the hole of which the best model has the largest. "L1" is measured too."""


@dataclasses.dataclass
class RestorationConfig:
    """How filled pictures are validated: by what is inside the same holes at every evaluation.

    Attributes:
      every: steps between evaluations; 0: once an epoch.
      metric: the best model has the largest of this, "PSNR" (decibels) or "SSIM".
      patience: stop after so many evaluations without a new best; 0: never.
      images: validation pictures used while training, 0 for all; the end always uses all.
      batch_size: pictures filled at once.
      shown: the first so many are shown at each evaluation, with a hole, filled, and as they are.
    """

    every: int = 0
    metric: str = "PSNR"
    patience: int = 0
    images: int = 0
    batch_size: int = 16
    shown: int = 6

    def check(self) -> None:
        """Raises ValueError for a value that has no meaning."""
        if self.metric not in SCORES:
            raise ValueError(
                f"unknown evaluation.metric {self.metric!r}; choose one of: {', '.join(SCORES)}"
            )
        least_of = {"every": 0, "patience": 0, "images": 0, "batch_size": 1, "shown": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(
                    f"evaluation.{name} is {getattr(self, name)}; expected {least} or more"
                )


@dataclasses.dataclass
class InpaintingConfig:
    """One experiment.

    Attributes:
      generator, discriminator: see `generator_section` and `discriminator_section`; without
        `loss.adversarial` there is no discriminator.
      data, holes, loss, train, evaluation: see their classes. Of scenes, holes are their objects.
      optimizer, discriminator_optimizer: of each player; settings of encoders have no meaning.
      init_from: an inpainter whose weights the generator starts from, by its folder or name; the
        architecture is this config's and must be its. Empty: random weights.
      discriminator_from: a file of released weights whose discriminator goes on learning: the .npz
        that `init_from` may name, or "FILE.pth#D" of the port. Empty: random weights.
      profile: as in `ExperimentConfig`.
      seed: of initialisation, holes, parts of pictures and their order.
    """

    generator: config_dict.ConfigDict
    discriminator: config_dict.ConfigDict
    data: PictureConfig = dataclasses.field(default_factory=PictureConfig)
    holes: HoleConfig = dataclasses.field(default_factory=HoleConfig)
    loss: InpaintingLossConfig = dataclasses.field(default_factory=InpaintingLossConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    discriminator_optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    train: LoopConfig = dataclasses.field(default_factory=LoopConfig)
    evaluation: RestorationConfig = dataclasses.field(default_factory=RestorationConfig)
    init_from: str = ""
    discriminator_from: str = ""
    profile: str = ""
    seed: int = 0


def generator_section(name: str = "gated", **arguments: Any) -> config_dict.ConfigDict:
    """Settings of a generator: every constructor argument, overridable and typed."""
    return make_section("generator", name, GENERATORS, arguments)


def discriminator_section(name: str = "patches", **arguments: Any) -> config_dict.ConfigDict:
    """Settings of a discriminator: every constructor argument, overridable and typed."""
    return make_section("discriminator", name, DISCRIMINATORS, arguments)


def build_players(config: InpaintingConfig) -> Inpainting:
    """Both nets, and what they learn."""
    generator: Any = build_module(config.generator, GENERATORS)
    discriminator: Any = build_module(config.discriminator, DISCRIMINATORS)
    return Inpainting(generator, discriminator, config.loss, config.holes)


def resolve_inpainting(config: InpaintingConfig) -> InpaintingConfig:
    """A checked, frozen copy with the data folder filled in.

    Raises:
      ValueError: a value has no meaning; the text names the flag and the choices.
    """
    config = copy.deepcopy(config)
    check_section("generator", config.generator, GENERATORS)
    check_section("discriminator", config.discriminator, DISCRIMINATORS)
    check_finite(to_json(config))
    config.data.check()
    config.holes.check(config.data.side)
    config.loss.check()
    for part in ("optimizer", "discriminator_optimizer"):
        own = getattr(config, part)
        own.check()
        if own.encoder_learning_rate:
            raise ValueError(f"{part}.encoder_learning_rate: an inpainter has no encoder; set 0")
    if config.discriminator_optimizer.average_decay:
        raise ValueError(
            "discriminator_optimizer.average_decay has no effect: only the generator is kept; set "
            "optimizer.average_decay, and it to 0"
        )
    if config.discriminator_from and not config.loss.adversarial:
        raise ValueError(
            "discriminator_from has no effect where loss.adversarial is 0, for there is no "
            "discriminator; leave it empty"
        )
    usual = dataclasses.asdict(HoleConfig())
    if config.data.name == SCENES and dataclasses.asdict(config.holes) != usual:
        raise ValueError(
            "config.holes has no effect on scenes, whose holes are their objects; leave it as it "
            "is, or set data.grow"
        )
    config.train.check()
    config.evaluation.check()
    if config.train.remat:
        raise ValueError(
            "train.remat is of encoders; train.accumulate computes the same update in less memory"
        )
    if not (config.train.epochs or config.train.steps or config.init_from):
        raise ValueError(
            "train.epochs is 0, which scores an inpainter; name it with --config.init_from=MODEL"
        )
    parse_span(config.profile)
    config.data.root = str(data_root(config.data.root))
    return freeze(config)


def inpainting_with_defaults(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a `config.json`, and the defaults of all settings that it was written without.

    Stored values that are no longer settings stay.
    """
    sections = {
        part: make_section(part, stored[part]["name"], registry, {})
        for part, registry in (("generator", GENERATORS), ("discriminator", DISCRIMINATORS))
    }
    whole = json.loads(json.dumps(to_json(InpaintingConfig(**sections))))  # tuples are lists
    for name, value in stored.items():
        whole[name] = {**whole.get(name, {}), **value} if isinstance(value, Mapping) else value
    return whole
