"""The gated inpainter and its discriminator as two players (Yu et al. 2019, §3.2 and §3.4).

Deviations from the released program: every picture has a hole of its own, where that has one hole
a batch; both players learn from the same batch (`capjax.train.adversarial.step`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from capjax import rng
from capjax.inpaint.discriminator import SPECTRAL, Discriminator
from capjax.inpaint.generator import Generator, Inpainted, composite
from capjax.inpaint.losses import adversarial_loss, discriminator_loss, reconstruction_loss
from capjax.inpaint.pixels import as_floats
from capjax.inpaint.training.settings import HoleConfig, InpaintingLossConfig
from capjax.train.adversarial.players import DISCRIMINATOR, GENERATOR, Judged
from capjax.train.objectives.objective import Batch, Metrics


@dataclasses.dataclass(frozen=True)
class Inpainting:
    """What `capjax.train.adversarial.step` asks of two players.

    A batch holds `image` [B S S 3] uint8 and `position` [B], by which holes are drawn, or `hole`
    [B S S] bool. Metrics are `loss`, `coarse_l1` and `refined_l1` (mean absolute errors of whole
    pictures, of a range of 2), `hole_l1` (of the refined picture in the hole) and, with a
    discriminator, `adversarial`, `discriminator_loss`, and its mean scores `score_real` and
    `score_filled`.

    Attributes:
      generator: paints.
      discriminator: tells pictures from filled ones; not used where `loss.adversarial` is 0.
      loss: what the generator minimises.
      holes: that are drawn.
    """

    generator: Generator
    discriminator: Discriminator
    loss: InpaintingLossConfig
    holes: HoleConfig

    @property
    def adversarial(self) -> bool:
        """Whether there is a discriminator."""
        return self.loss.adversarial > 0

    def init(self, key: Key[Array, ""], side: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """First parameters, by player, and the discriminator's statistics as the state keeps them.

        Args:
          key: of all weights.
          side: of the pictures, in pixels.
        """
        picture, hole = jnp.zeros((1, side, side, 3)), jnp.zeros((1, side, side, 1))

        def first(net: Any, name: str) -> Any:
            return jax.jit(net.init)(rng.stream(key, name), picture, hole)

        params = {GENERATOR: first(self.generator, GENERATOR)["params"]}
        if not self.adversarial:
            return params, {}
        own = first(self.discriminator, DISCRIMINATOR)
        return {**params, DISCRIMINATOR: own["params"]}, {DISCRIMINATOR: own[SPECTRAL]}

    def prepare(self, batch: Batch, key: Key[Array, ""]) -> Batch:
        """`image` [B S S 3] in [-1, 1] and `mask` [B S S 1], 1 in the hole."""
        image = as_floats(batch["image"])
        if "hole" in batch:
            mask = batch["hole"][..., None].astype(jnp.float32)
        else:
            keys = rng.per_example(rng.stream(key, "holes"), batch["position"])
            mask = self.holes.draw(keys, image.shape[1])
        return {"image": image, "mask": mask}

    def generate(self, params: Mapping[str, Any], batch: Batch) -> Inpainted:
        """Both stages' pictures."""
        found: Any = self.generator.apply({"params": params}, batch["image"], batch["mask"])
        return found

    def judge(
        self, params: Mapping[str, Any], statistics: Any, made: Inpainted, batch: Batch
    ) -> Judged:
        """The hinge loss of telling the pictures from the filled ones."""
        images, masks = batch["image"], batch["mask"]
        filled = composite(made.refined, images, masks)
        both, holes = jnp.concatenate([images, filled]), jnp.concatenate([masks, masks])
        scores, statistics = self._scores(params, statistics, both, holes)
        real, completed = jnp.split(scores, 2)
        loss = discriminator_loss(real, completed)
        told = {
            "discriminator_loss": loss,
            "score_real": jnp.mean(real),
            "score_filled": jnp.mean(completed),
        }
        return loss, (told, statistics)

    def persuade(self, made: Inpainted, params: Any, statistics: Any, batch: Batch) -> Judged:
        """Absolute errors of both stages and, with a discriminator, its scores, negative."""
        images, masks = batch["image"], batch["mask"]
        weights = masks + self.loss.known * (1.0 - masks)
        loss = reconstruction_loss(made, images, weights)
        coarse, refined = (jnp.abs(images - each) for each in (made.coarse, made.refined))
        shares = jnp.mean(refined, axis=-1, keepdims=True) * masks
        area = jnp.maximum(jnp.sum(masks, axis=(1, 2, 3)), 1.0)
        told: Metrics = {
            "coarse_l1": jnp.mean(coarse),
            "refined_l1": jnp.mean(refined),
            "hole_l1": jnp.mean(jnp.sum(shares, axis=(1, 2, 3)) / area),
        }
        if self.adversarial:
            filled = composite(made.refined, images, masks)
            scores, statistics = self._scores(params, statistics, filled, masks)
            told["adversarial"] = adversarial_loss(scores)
            loss = loss + self.loss.adversarial * told["adversarial"]
        return loss, ({**told, "loss": loss}, statistics)

    def _scores(
        self, params: Any, statistics: Any, images: Array, masks: Array
    ) -> tuple[Float[Array, "B N"], Any]:
        """Scores, and the vectors of spectral norm after one more iteration."""
        variables = {"params": params, SPECTRAL: statistics}
        found: Any = self.discriminator.apply(variables, images, masks, mutable=[SPECTRAL])
        return found[0], found[1][SPECTRAL]
