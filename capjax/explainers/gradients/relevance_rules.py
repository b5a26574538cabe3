"""Layer-wise relevance propagation as a backward pass: what replaces the gradient of each layer.

Relevance R_i = x_i g_i is what a signal's value x_i contributes to the logit, g_i the modified
gradient. Layer by layer, from the logit (R = z, hence g = 1) to the input:

  gates, attention     constants: the signal takes all the relevance (Arras et al. 2017, eq 5)
  y = f(z)             the secant: R_z = R_y, hence g_z = g_y f(z) / z; for a ReLU its gradient
  z = sum_i w_i x_i    epsilon: R_i = w_i x_i R / (z + e sign(z)) (Bach et al. 2015, eq 58), hence
                       g_i = w_i g z / (z + e sign(z)): the gradient, but for the share of e
                       alpha1-beta0: R_i by size among the contributions w_i x_i > 0 (eq 60)
  maxima               the winner takes all, which is their gradient

So the captioner becomes linear in its input, its words, its biases and in e, and by Euler's theorem
the logit is the sum of each times its gradient: what biases and e absorb is found like the
relevance of the input, by a factor of 1 (`Units`) in front of each. What lies between two
nonlinearities is one affine map: batch norm is folded into the convolution before it.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct, traverse_util
from flax.linen.module import InterceptorContext
from jaxtyping import Array, Float

from capjax.decoders import cell
from capjax.encoders.encoder import Encoder, Relu

TINY = 1e-9
"""Share of a bias that is to have none but where it is alone."""
ADDED = ("mean", "place", "upper_stage")
"""Names of what is added to a signal, beside biases: `mean` of batch norm, which it takes away,
coordinates, and what tells reading from writing."""


@struct.dataclass
class Units:
    """Factors of 1, by which the logit is differentiated to find what they stand before absorbs.

    Attributes:
      words: of the embeddings of earlier words and of first inputs.
      biases: of all that is added to a signal.
      epsilon: of every e sign(z).
    """

    words: Float[Array, ""]
    biases: Float[Array, ""]
    epsilon: Float[Array, ""]

    @classmethod
    def ones(cls) -> "Units":
        """All of them."""
        return cls(*(jnp.ones(()) for _ in dataclasses.fields(cls)))


def with_biases(variables: Mapping[str, Any], unit: Float[Array, ""]) -> dict[str, Any]:
    """Variables with `unit` before everything that is added to a signal."""
    flat = traverse_util.flatten_dict(dict(variables))
    scaled = {
        path: leaf * unit if path[-1].endswith("bias") or path[-1] in ADDED else leaf
        for path, leaf in flat.items()
    }
    return traverse_util.unflatten_dict(scaled)


def secant(function: Relu) -> Relu:
    """A nonlinearity f with the derivative f(z) / z; 0 where z is 0."""

    def passed(z: Array) -> Array:
        slope = function(z) / jnp.where(z == 0, 1.0, z)
        return jax.lax.stop_gradient(slope) * z

    return passed


def damped(z: Array, epsilon: float, unit: Float[Array, ""]) -> Array:
    """A sum z that leaves e / (z + e sign(z)) of its relevance to e, whose factor is `unit`."""
    edge = jax.lax.stop_gradient(jnp.where(z < 0, -epsilon, epsilon))
    return _shared(z, z + edge * unit)


def same_signed(
    z: Array, positive: Array, negative: Array, bias: Float[Array, " D"], *, biased: bool
) -> Array:
    """A sum z whose relevance only the contributions of its own sign share.

    For a positive one that is alpha1-beta0. A negative one matters where no ReLU follows, in the
    sums of a residual net: there it is the same rule with all signs turned. Where nothing has the
    sign of z, the bias alone made it, and absorbs its relevance.

    Args:
      z: of contributions and bias.
      positive, negative: the sums of the contributions of either sign, with their gradients.
      bias: with its factor of 1.
      biased: the bias takes its share.
    """
    above = z > 0
    own = bias.reshape(*(1,) * (z.ndim - 1), -1)
    share = own if biased else TINY * own
    share = jnp.where(above, nn.relu(share), -nn.relu(-share))
    return _shared(z, jnp.where(above, positive, negative) + share)


def _shared(z: Array, parts: Array) -> Array:
    """The value of z; the relevance goes to `parts`, which have its sign, by size."""
    slope = jnp.where(parts == 0, 0.0, z / jnp.where(parts == 0, 1.0, parts))
    return jax.lax.stop_gradient(slope) * parts


def decoder_rules(epsilon: float, units: Units) -> cell.Rules:
    """Rules of an LSTM decoder: gates and attention are weights, all else is by epsilon."""
    tanh, relu = secant(jnp.tanh), secant(nn.relu)
    add = functools.partial(damped, epsilon=epsilon, unit=units.epsilon)

    def lstm(gate_sums: Float[Array, "B 4n"], memory: Float[Array, "B n"]) -> tuple[Array, Array]:
        *gates, candidate = jnp.split(gate_sums, 4, axis=1)
        entry, forget, output = (jax.lax.stop_gradient(nn.sigmoid(each)) for each in gates)
        memory = add(forget * memory + entry * tanh(add(candidate)))
        return output * tanh(memory), memory

    return cell.Rules(
        tanh=lambda z: tanh(add(z)),
        relu=lambda z: relu(add(z)),
        weight=jax.lax.stop_gradient,
        word=lambda embedded: embedded * units.words,
        lstm=lstm,
    )


@dataclasses.dataclass
class EncoderRule:
    """The rule of an encoder's convolutions, for `flax.linen.intercept_methods`.

    A convolution without bias and the batch norm that reads it are one affine map. The first one
    reads pixels, which have both signs, all others what ReLUs and pooling left, which is positive.

    Attributes:
      units: in front of what absorbs relevance.
      epsilon: of the epsilon rule; None: alpha1-beta0.
      biased: biases take a share by alpha1-beta0 too.
    """

    units: Units
    epsilon: float | None
    biased: bool = False
    _reads_pixels: bool = False
    _before: tuple[Array, Callable[[Array], tuple[Array, Array]]] | None = None

    def __call__(
        self,
        following: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: Mapping[str, Any],
        context: InterceptorContext,
    ) -> Any:
        """What a method of a module gives, with this rule's backward pass."""
        module, called = context.module, context.method_name == "__call__"
        if called and isinstance(module, Encoder):
            self._reads_pixels = True
        result = following(*arguments, **keywords)
        if not called or not module.path:
            return result  # a module without path is no part of a net: a copy of `_by_sign`
        params = module.variables.get("params", {})
        if isinstance(module, nn.BatchNorm):
            if self._before is None or self._before[0] is not arguments[0]:
                raise ValueError(
                    f"the batch norm {'/'.join(module.path)} follows no convolution without bias, "
                    "into which relevance propagation could fold it; choose another method"
                )
            mean, variance = (module.variables["batch_stats"][name] for name in ("mean", "var"))
            scale = params.get("scale", 1.0) * jax.lax.rsqrt(variance + module.epsilon)
            bias = params.get("bias", 0.0) - mean * scale
            return self._ruled(result, self._before[1], scale, bias)
        if "kernel" not in params:
            return result
        contributions = functools.partial(_by_sign, module, *arguments, signed=self._reads_pixels)
        self._reads_pixels = False
        if "bias" in params:
            return self._ruled(result, contributions, jnp.ones(()), params["bias"])
        self._before = (result, contributions)
        return result

    def _ruled(
        self,
        z: Array,
        contributions: Callable[[Array], tuple[Array, Array]],
        scale: Array,
        bias: Float[Array, " D"],
    ) -> Array:
        if self.epsilon is None:
            return same_signed(z, *contributions(scale), bias, biased=self.biased)
        return damped(z, self.epsilon, self.units.epsilon)


def _by_sign(module: nn.Module, x: Array, scale: Array, *, signed: bool) -> tuple[Array, Array]:
    """Sums of the positive and of the negative contributions to a convolution.

    Args:
      module: the convolution.
      x: what it reads.
      scale: of its results, folded into its kernel.
      signed: x has both signs, and is positive otherwise.
    """
    params = dict(module.variables["params"])
    kernel = params.pop("kernel") * scale.reshape(1, 1, 1, -1)
    nothing = jax.tree.map(jnp.zeros_like, params)
    free = module.clone(parent=None)

    def convolve(x: Array, kernel: Array) -> Array:
        found: Any = free.apply({"params": {**nothing, "kernel": kernel}}, x)
        return found

    above, below = nn.relu(kernel), -nn.relu(-kernel)
    if not signed:
        return convolve(x, above), convolve(x, below)
    bright, dark = nn.relu(x), -nn.relu(-x)
    return (
        convolve(bright, above) + convolve(dark, below),
        convolve(bright, below) + convolve(dark, above),
    )
