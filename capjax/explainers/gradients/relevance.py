"""Layer-wise relevance propagation (Bach et al. 2015) through an LSTM decoder and its encoder."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.decoders import cell
from capjax.explainers.contract import Maps, Method, clips
from capjax.explainers.gradients.relevance_rules import (
    EncoderRule,
    Units,
    damped,
    decoder_rules,
    secant,
    with_biases,
)
from capjax.explainers.request import Request, scalars
from capjax.types import Features

LARGE_GAP = 0.01
"""A reader is told of words whose relevance misses more of the logit."""
LEAST_LOGIT = 0.1
"""Of the logit, in the gap: a share of less than this says nothing."""


@dataclasses.dataclass(frozen=True)
class Relevance(Method):
    """What each pixel contributes to a word's logit, by layer-wise relevance propagation.
    For LSTM decoders; down to the pixels, for encoders of ReLUs.

    The logit is handed back layer by layer, each unit's relevance going to its inputs by what they
    contributed: in an LSTM the signal takes all of it and gates take none, and attention is a
    weight likewise (Arras et al. 2017). Relevance that arrives at earlier words, at biases and at
    epsilon never comes to the image. The flags `absorbed_by_words`, `_biases`, `_epsilon` (of the
    decoder) and `_encoder` (its biases and epsilon) say how much. With `relevance_of_image`, the
    map's sum, they are the logit; `conservation_gap` is what is missing, as a share of
    max(|logit|, 0.1).

    Relevance at a pixel is the sum over its channels, of what the encoder sees: a pixel of the mean
    colour has none. Deviations: all that lies between two nonlinearities, batch norm among it, is
    one affine map; the branches of a residual sum share by size, whatever their signs (epsilon
    rule), and in a branch with a negative sum negative contributions do.

    Attributes:
      rule: of the encoder's convolutions. "composite" is alpha1-beta0, only positive contributions,
        beneath a decoder by epsilon (Montavon et al. 2019); "epsilon" is by epsilon throughout,
        which in ReLU nets comes near gradient x input, and is as noisy.
      epsilon: of the epsilon rule, added to the size of every sum; it absorbs what small ones get.
      biased: biases share in alpha1-beta0 too, as in the papers. In a deep net they take almost
        all: less than a thousandth of a logit came to MobileNet's pixels. Without this a bias takes
        only what it alone makes, a sum whose contributions all have the other sign. In MobileNet,
        where filters of a single channel often only take away, that is still most.
      at: "pixels", or "features" for the relevance of positions, with any encoder.
    """

    rule: Literal["composite", "epsilon"] = "composite"
    epsilon: float = 0.01
    biased: bool = False
    at: Literal["pixels", "features"] = "pixels"

    NAME = "lrp"
    MEASURE = "logit"
    COST = "one pass forward and one backward per word, a convolution counting as three"
    SOURCE = "Bach et al. 2015, equations 58 and 60; Arras et al. 2017; Montavon et al. 2019"

    def __post_init__(self) -> None:
        if self.rule not in ("composite", "epsilon"):
            raise ValueError(f"got rule={self.rule!r}; choose 'composite' or 'epsilon'")
        if not self.epsilon > 0:
            raise ValueError(f"got epsilon={self.epsilon}; expected more than 0")
        if self.at not in ("pixels", "features"):
            raise ValueError(f"got at={self.at!r}; choose 'pixels' or 'features'")

    def prepare(self, net: CaptionNet) -> CaptionNet:
        """The same net.

        Raises:
          ValueError: no rule is known for the decoder, or for the encoder and its pixels.
        """
        if not isinstance(getattr(net.decoder, "rules", None), cell.Rules):
            raise ValueError(
                f"lrp has no rule for {type(net.decoder).__name__}, only for LSTMs; choose another "
                "method, for instance ig"
            )
        if self.at == "pixels" and not hasattr(net.encoder, "relu"):
            raise ValueError(
                f"lrp has no rule for {type(net.encoder).__name__}, whose layers are not "
                "convolutions and ReLUs alone; with lrp.at=features it stops at the features"
            )
        return net

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Which words' maps do not add up, or hold little of what reached the features."""
        found = []
        gaps = zip(words, flags["conservation_gap"], strict=True)
        if open_ones := [f"{word} ({gap:.0%})" for word, gap in gaps if gap > LARGE_GAP]:
            found.append(
                "the relevance of the image and what words, biases and epsilon absorb miss part of "
                f"the logit of {', '.join(open_ones)}."
            )
        parts = zip(words, flags["absorbed_by_encoder"], flags["relevance_of_image"], strict=True)
        if lost := [word for word, absorbed, image in parts if abs(absorbed) > abs(image)]:
            which = "every word" if 1 < len(lost) == len(words) else ", ".join(lost)
            found.append(
                "the encoder's biases absorb more of the relevance than comes to the pixels for "
                f"{which}; lrp.at=features shows where it was."
            )
        return found

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Maps of every sentence, one target after the other."""
        if request.measure != "logit":
            raise ValueError(
                f"lrp explains the measure 'logit', not {request.measure!r}; leave --measure "
                "out, or ask for lrp@measure=logit"
            )
        if self.at == "features":
            at: Array = request.features.positions.astype(jnp.float32)
            shape: tuple[int, ...] = request.features.grid
        else:
            at = clips(self, request)
            shape = at.shape[-3:-1]
        parts = {
            name: getattr(net, name).clone(dtype=jnp.dtype(jnp.float32))
            for name in ("encoder", "decoder")
        }
        of_image = functools.partial(self._of_image, net.clone(**parts), variables)
        asked = (request.tokens, request.used, request.alternatives)
        values, flags = jax.vmap(of_image)(at, request.features, *asked)
        return {self.NAME: Maps(values.reshape(*values.shape[:3], -1, *shape), flags=flags)}

    def _of_image(
        self,
        net: CaptionNet,
        variables: Any,
        at: Array,
        features: Features,
        tokens: Int[Array, "Q T"],
        weights: Float[Array, "Q N T"],
        alternatives: Int[Array, "Q N T"] | None,
    ) -> tuple[Array, dict[str, Array]]:
        """Relevance [Q N ...] of one image, and flags [Q N]."""

        def see(at: Array, units: Units) -> Array:
            if self.at == "features":
                return at[None]
            return self._encode(net, variables, at[None], units).positions

        def of_sentence(given: tuple[Array, ...]) -> tuple[Array, dict[str, Array]]:
            tokens, weights, *alternatives = (leaf[None] for leaf in given)

            def read(positions: Array, units: Units) -> Array:
                seen = dataclasses.replace(whole, positions=positions)
                logits = self._logits(net, variables, seen, tokens, units)
                other = alternatives[0] if alternatives else None
                return scalars(logits, tokens, weights, other, measure="logit")[0]

            logits, pull_decoder = jax.vjp(read, seen, ones)

            def of_target(chosen: Array) -> tuple[Array, dict[str, Array]]:
                slope, above = pull_decoder(chosen)
                gradient, below = pull_encoder(slope)
                values = jnp.sum(gradient * signal, axis=-1)
                flags = {f"absorbed_by_{name}": part for name, part in vars(above).items()}
                flags["absorbed_by_encoder"] = sum(vars(below).values(), jnp.zeros(()))
                flags["relevance_of_image"] = jnp.sum(values)
                logit = jnp.sum(chosen * logits)
                missing = jnp.abs(sum(flags.values()) - logit)
                gap = missing / jnp.maximum(jnp.abs(logit), LEAST_LOGIT)
                return values, {**flags, "conservation_gap": gap}

            return jax.lax.map(of_target, jnp.eye(len(logits)))

        whole = jax.tree.map(lambda leaf: leaf[None], features)
        ones = Units.ones()
        seen, pull_encoder = jax.vjp(see, at, ones)
        mean = jnp.asarray(net.mean).reshape(*(1,) * (at.ndim - 1), -1)
        signal = at - mean if self.at == "pixels" else at
        given = (tokens, weights, *([] if alternatives is None else [alternatives]))
        return jax.lax.map(of_sentence, given)

    def _encode(
        self, net: CaptionNet, variables: Any, images: Float[Array, "1 F H W 3"], units: Units
    ) -> Features:
        """Features, with the backward pass of the encoder's rule."""
        rule = EncoderRule(units, None if self.rule == "composite" else self.epsilon, self.biased)
        with nn.intercept_methods(rule):
            features: Any = net.with_relu(secant).apply(
                with_biases(variables, units.biases), images, method="encode"
            )
        return features

    def _logits(
        self,
        net: CaptionNet,
        variables: Any,
        features: Features,
        tokens: Int[Array, "1 T"],
        units: Units,
    ) -> Float[Array, "1 T V"]:
        """Logits of teacher forcing, with the backward pass of the decoder's rules."""
        rules = decoder_rules(self.epsilon, units)
        apply: Any = functools.partial(
            net.clone(decoder=net.decoder.clone(rules=rules)).apply,
            with_biases(variables, units.biases),
        )
        carry, memory = apply(features, method="start")

        def step(carry: Any, token: Int[Array, " 1"]) -> tuple[Any, Array]:
            carry, hidden, _ = apply(carry, token, memory, method="step")
            return carry, hidden

        _, hidden = jax.lax.scan(step, carry, cell.shift(tokens).T)
        logits = apply(hidden.swapaxes(0, 1), method="readout")
        return damped(logits, self.epsilon, units.epsilon)
