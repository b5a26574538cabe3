"""What is asked of a method of explanation, and the scalars that all methods explain.

Letters: B images, Q sentences of each, N targets of each, T tokens, F frames, P positions.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Key

from capjax.captioner import CaptionNet, log_probs_after
from capjax.types import NO_TOKEN, Features

Measure = Literal["log_prob", "logit", "prob"]
"""The scalar that is explained: of a target with several tokens the sum of their log-probabilities
or of their logits, or the probability of them all. A contrast subtracts that of its alternative."""


@struct.dataclass
class Forced:
    """What one teacher-forced pass over the sentences leaves behind, for all methods to share.

    Attributes:
      hidden: [B Q T h] the decoder's state that each token is read from.
      attention: [B Q T F P] of each step; None where the decoder has none.
      chosen: [B Q T F P] the positions that hard attention read; None elsewhere.
      log_probs: [B Q T] of each token.
    """

    hidden: Float[Array, "B Q T h"]
    attention: Float[Array, "B Q T F P"] | None
    chosen: Float[Array, "B Q T F P"] | None
    log_probs: Float[Array, "B Q T"]

    @classmethod
    def read(
        cls, net: CaptionNet, variables: Any, features: Features, tokens: Int[Array, "B Q T"]
    ) -> "Forced":
        """Reads the sentences, one after the other."""

        def one(words: Int[Array, "B T"]) -> "Forced":
            read: Any = net.apply(
                variables, features, words, method="teacher_force", mutable=["selection"]
            )
            (hidden, attention), selection = read
            (chosen,) = selection.get("selection", {}).get("decoder", {}).get("chosen", (None,))
            return cls(hidden, attention, chosen, log_probs_after(net, variables, hidden, words))

        found = jax.lax.map(one, tokens.swapaxes(0, 1))
        return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), found)


@struct.dataclass
class Request:
    """What is asked of a method, and all that it may read. A new need is a new field.

    Attributes:
      images: as the encoder wants them; None where only features are known.
      features: of the images, with whatever the methods' `prepare` had recorded.
      forced: the one pass over the sentences.
      tokens: the sentences, end token included; padding may be anything.
      lengths: of the sentences.
      weights: which tokens each target sums over, and with what factor.
      alternatives: the token that a target subtracts at a place, NO_TOKEN where none; None when
        no target of the request is a contrast.
      keys: one an image, drawn from its pixels: neither its row nor its batch changes them.
      measure: the scalar that is explained.
      superpixels: number asked for -> the superpixel of each pixel, from 0 on; those that methods
        ask for (`Method.superpixels`), cut on the host.
    """

    images: Array | None
    features: Features
    forced: Forced
    tokens: Int[Array, "B Q T"]
    lengths: Int[Array, "B Q"]
    weights: Float[Array, "B Q N T"]
    alternatives: Int[Array, "B Q N T"] | None
    keys: Key[Array, " B"]
    measure: Measure = struct.field(pytree_node=False, default="log_prob")
    superpixels: Mapping[int, Int[Array, "B *F H W"]] = dataclasses.field(default_factory=dict)

    @property
    def used(self) -> Float[Array, "B Q N T"]:
        """The weights, zero beyond the end of each sentence."""
        real = jnp.arange(self.tokens.shape[2])[None, None] < self.lengths[..., None]
        return jnp.where(real[:, :, None], self.weights, 0.0)

    @property
    def sentence(
        self,
    ) -> tuple[Int[Array, "B T"], Float[Array, "B N T"], Int[Array, "B N T"] | None]:
        """Tokens, used weights and alternatives of the only sentence of each image."""
        given = (self.tokens, self.used, self.alternatives)
        found: Any = jax.tree.map(lambda leaf: leaf[:, 0], given)
        return found

    def of_images(
        self, net: CaptionNet, variables: Any, images: Float[Array, "B *F H W 3"]
    ) -> "Request":
        """The same asked of other images, which are encoded and read anew."""
        features: Any = net.apply(variables, images, method="encode")
        forced = Forced.read(net, variables, features, self.tokens)
        return dataclasses.replace(self, images=images, features=features, forced=forced)

    def score(
        self,
        net: CaptionNet,
        variables: Any,
        *,
        images: Array | None = None,
        features: Features | None = None,
    ) -> Float[Array, "B Q N"]:
        """The scalar of every target, for other images or other features in place of the request's.

        Gradients and perturbations alike call this: what one of them differentiates is what the
        other one measures. Sentences are read one after the other, so that the memory is that of
        one.

        Args:
          net, variables: the captioner.
          images: [B *F H W 3], encoded anew.
          features: of the same images, moved. Give one of both.
        """
        if (images is None) == (features is None):
            raise ValueError("score() takes either images or features")
        seen: Any = features
        if images is not None:
            seen = net.apply(variables, images, method="encode")

        def of_sentence(asked: "Request") -> Float[Array, "B 1 N"]:
            tokens, weights, alternatives = asked.sentence
            hidden, _ = net.apply(variables, seen, tokens, method="teacher_force")
            logits: Any = net.apply(variables, hidden, method="readout")
            measured = scalars(logits, tokens, weights, alternatives, measure=self.measure)
            return measured[:, None]

        return self.each_sentence(of_sentence)

    def gradients(
        self,
        net: CaptionNet,
        variables: Any,
        at: Float[Array, "B ..."],
        use: Callable[[Float[Array, "B ..."]], Any],
        see: Callable[[Float[Array, "B ..."]], Features] | None = None,
    ) -> Any:
        """What `use` makes of the gradient of every target's scalar, one pass forward a sentence.

        Args:
          net, variables: the captioner.
          at: what the score depends on, where the gradients are taken.
          use: of the gradient by `at` of one target, arrays [B ...]. With `see`, targets come one
            after the other, and so few gradients are kept; without it, all targets at once.
          see: the features of `at`; default: `at` are their positions. The encoder runs forward
            once for all sentences, and backward once a target, one after the other.

        Returns:
          what `use` gives, as arrays [B Q N ...].
        """
        given, own, pull_back = _seen(self.features, at, see)

        def of_sentence(asked: "Request") -> Any:
            tokens, weights, alternatives = asked.sentence

            def states(given: tuple[Array, Array]) -> Float[Array, "B T h"]:
                moved = dataclasses.replace(own, positions=given[0], extra=given[1])
                hidden: Any = net.apply(variables, moved, tokens, method="teacher_force")[0]
                return hidden

            hidden, pull_states = jax.vjp(states, given)

            def read(tokens: Int[Array, "B T"]) -> tuple[Array, Array]:
                """Values [B T], and their gradients [B T h]: each is of its own state alone."""

                def values(hidden: Array) -> Array:
                    logits: Any = net.apply(variables, hidden, method="readout")
                    return _values(logits, tokens[..., None], measure=self.measure)[..., 0]

                found, pull = jax.vjp(values, hidden)
                return found, pull(jnp.ones_like(found))[0]

            # The vocabulary is met once a token, not once a token and target.
            seen = [read(tokens)]
            if alternatives is not None:
                seen.append(jax.vmap(read, in_axes=1, out_axes=1)(jnp.maximum(alternatives, 0)))
            sums = functools.partial(
                _sums, weights=weights, alternatives=alternatives, measure=self.measure
            )
            values, pull_sums = jax.vjp(sums, *(found for found, _ in seen))

            def one_target(chosen: Float[Array, " N"]) -> Any:
                by_value = pull_sums(jnp.broadcast_to(chosen, values.shape))
                slope = by_value[0][..., None] * seen[0][1]
                if alternatives is not None:
                    slope += jnp.sum(by_value[1][..., None] * seen[1][1], axis=1)
                (moved,) = pull_states(slope.astype(hidden.dtype))
                return use(pull_back(moved))

            targets = jnp.eye(values.shape[1], dtype=values.dtype)
            if see is None:
                each = jax.vmap(one_target, out_axes=1)(targets)
            else:
                each = jax.tree.map(
                    lambda leaf: leaf.swapaxes(0, 1), jax.lax.map(one_target, targets)
                )
            return jax.tree.map(lambda leaf: leaf[:, None], each)

        return self.each_sentence(of_sentence)

    def each_sentence(self, answer: Callable[["Request"], Any]) -> Any:
        """`answer` of the request reduced to one sentence an image (Q = 1), sentence by sentence.

        What has to be kept for a gradient of many sentences at once would not fit.

        Args:
          answer: a pytree of arrays [B 1 ...].

        Returns:
          the same pytree, of arrays [B Q ...].
        """
        if self.tokens.shape[1] == 1:
            return answer(self)
        own = (self.forced, self.tokens, self.lengths, self.weights, self.alternatives)
        by_sentence = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1)[:, :, None], own)

        def one(given: tuple[Any, ...]) -> Any:
            names = ("forced", "tokens", "lengths", "weights", "alternatives")
            return answer(dataclasses.replace(self, **dict(zip(names, given, strict=True))))

        found = jax.lax.map(one, by_sentence)
        return jax.tree.map(lambda leaf: leaf[:, :, 0].swapaxes(0, 1), found)


def _seen(
    features: Features,
    at: Float[Array, "B ..."],
    see: Callable[[Float[Array, "B ..."]], Features] | None,
) -> tuple[tuple[Array, Array], Features, Callable[[tuple[Array, Array]], Array]]:
    """(positions, extra) of the features of `at`, those features, and the way back to `at`."""
    if see is None:
        return (at, features.extra), features, lambda slope: slope[0]

    def parts(moved: Array) -> tuple[tuple[Array, Array], Features]:
        seen = see(moved)
        return (seen.positions, seen.extra), seen

    given, pull, seen = jax.vjp(parts, at, has_aux=True)
    return given, seen, lambda slope: pull(slope)[0]


def scalars(
    logits: Float[Array, "B T V"],
    tokens: Int[Array, "B T"],
    weights: Float[Array, "B N T"],
    alternatives: Int[Array, "B N T"] | None,
    *,
    measure: Measure,
) -> Float[Array, "B N"]:
    """What is explained of one sentence an image: every target's scalar, from its logits.

    Args:
      logits: at each token.
      tokens, weights, alternatives, measure: of a `Request` of one sentence; weights as `used`.
    """
    chosen = _values(logits, tokens[..., None], measure=measure)[..., 0]
    other = None
    if alternatives is not None:
        wanted = jnp.maximum(alternatives, 0).swapaxes(1, 2)  # [B T N]
        other = _values(logits, wanted, measure=measure).swapaxes(1, 2)
    return _sums(chosen, other, weights=weights, alternatives=alternatives, measure=measure)


def _values(
    logits: Float[Array, "B T V"], tokens: Int[Array, "B T K"], *, measure: Measure
) -> Float[Array, "B T K"]:
    """Of some tokens at each place the logit, or the log-probability."""
    values = logits
    if measure != "logit":
        values = logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    return jnp.take_along_axis(values, tokens, axis=-1)


def _sums(
    chosen: Float[Array, "B T"],
    other: Float[Array, "B N T"] | None = None,
    *,
    weights: Float[Array, "B N T"],
    alternatives: Int[Array, "B N T"] | None,
    measure: Measure,
) -> Float[Array, "B N"]:
    """Every target's scalar, from the values of its tokens and of what it says instead."""
    said = jnp.einsum("bnt,bt->bn", weights, chosen, precision="highest")
    if other is None or alternatives is None:
        return jnp.exp(said) if measure == "prob" else said
    there = alternatives != NO_TOKEN  # [B N T]
    own = jnp.where(there, weights, 0.0)
    instead = jnp.sum(own * other, axis=-1)
    if measure != "prob":
        return said - instead
    # Of a target without alternative nothing is subtracted, rather than a probability of one.
    return jnp.exp(said) - jnp.where(jnp.any(there, axis=-1), jnp.exp(instead), 0.0)
