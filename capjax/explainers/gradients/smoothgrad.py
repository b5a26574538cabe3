"""SmoothGrad (Smilkov et al. 2017): the mean of a method's maps over noisy copies of a picture."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.explainers.contract import InParts, Maps, Method, answer, check_inner, clips
from capjax.explainers.gradients.gradient_input import GradientInput
from capjax.explainers.perturbation.running import Running, noise, noise_note, sampling_flags
from capjax.explainers.request import Request


class Tally(NamedTuple):
    """Maps of noisy copies so far.

    Attributes:
      maps: their mean, and squared distances from it.
      powers: sums of the third and the fourth powers of those distances; empty where nobody asks.
      flags: the means of the method's own flags.
    """

    maps: Running
    powers: tuple[Array, ...]
    flags: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Noisy(InParts):
    """Maps of a method on noisy copies of the pictures.

    The noise is normal, with a standard deviation of `level` times the span of the picture's own
    values, and the same whatever else is in the batch. Noisy values may leave 0..255. Features and
    attention are those of the noisy picture.

    Attributes:
      method: whose maps are taken, by its name, or with options as in ig_pixels+steps=8; one
        that explains log-probabilities.
      samples: noisy copies.
      level: standard deviation of the noise, as a share of the picture's span.
    """

    method: Method = GradientInput()
    samples: int = 50
    level: float = 0.15

    COST = "`samples` times that of its method, and a pass of the encoder each"

    def __post_init__(self) -> None:
        check_inner(self, self.method, "gradient_input")
        if isinstance(self.method, Noisy):
            raise ValueError(
                f"{self.NAME} goes around a method that draws no noisy copies itself, and got "
                f"{self.method.NAME}; choose the method that this one goes around, "
                f"{self.method.method.NAME}, with more samples"
            )
        if self.samples < 2:
            raise ValueError(f"got samples={self.samples}; expected 2 or more")
        if not self.level >= 0:
            raise ValueError(f"got level={self.level}; expected 0 or more, such as 0.15")

    @property
    def superpixels(self) -> int:
        """As many as its method wants; a noisy copy keeps those of its picture."""
        return self.method.superpixels

    def prepare(self, net: CaptionNet) -> CaptionNet:
        """The net that its method needs; raises what its method raises."""
        return self.method.prepare(net)

    def facts(self, net: CaptionNet) -> dict[str, Any]:
        """Those of its method."""
        return self.method.facts(net)

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Which words' maps are noisy."""
        return noise_note(flags, words, f"samples={self.samples}")

    def parts(self, request: Request) -> int:
        """One noisy copy a part."""
        return self.samples

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Tally:
        """No copies."""
        own = functools.partial(self._of_copy, net)
        shape = jax.eval_shape(own, variables, request, jnp.int32(0))
        maps = Running.start(request.used, *shape.values.shape[3:])
        flags = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shape.flags)
        return Tally(maps, (), flags)

    def step(
        self, net: CaptionNet, variables: Any, request: Request, tally: Tally, index: Int[Array, ""]
    ) -> Tally:
        """With copy `index`."""
        found = self._of_copy(net, variables, request, index)
        maps = tally.maps.take(found.values, jnp.zeros_like(found.values), jnp.float32(1))
        flags = jax.tree.map(
            lambda own, new: own + (new - own) / (index + 1), tally.flags, found.flags
        )
        return Tally(maps, self.powers(tally, found.values, index + 1), flags)

    def powers(
        self, tally: Tally, values: Float[Array, "B Q N F h w"], count: Int[Array, ""]
    ) -> tuple[Array, ...]:
        """The tally's sums of powers with one map more, which is number `count`."""
        del values, count
        return tally.powers

    def _of_copy(
        self, net: CaptionNet, variables: Any, request: Request, index: Int[Array, ""]
    ) -> Maps:
        """What the method answers for noisy copy `index`."""
        pixels = clips(self, request)
        keys = rng.child(request.keys, "smoothgrad")
        noisy = jax.vmap(functools.partial(_noisy, level=self.level), in_axes=(0, 0, None))(
            keys, pixels, index
        )
        moved = request.of_images(net, variables, noisy)
        return answer(self.method, net, variables, moved)[self.method.NAME]


@dataclasses.dataclass(frozen=True)
class SmoothGrad(Noisy):
    """The mean of a method's maps over noisy copies of the picture, with its standard error.

    Noise that a gradient owes to its exact place averages out of signed maps. The mean is of maps
    as the method gives them: of saliency, which is unsigned, that of absolute values.

    Deviation: the paper averages gradients and multiplies them with the picture, if at all, in the
    end; here each copy's gradient meets that copy.

    Attributes:
      method: whose maps are averaged, by its name, or with options as in ig_pixels+steps=8; one
        that explains log-probabilities.
      samples: noisy copies.
      level: standard deviation of the noise, as a share of the picture's span.
    """

    NAME = "smoothgrad"
    SOURCE = "Smilkov et al. 2017, section 3"

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Those of its method, of the means of its flags; and which words' maps are noisy."""
        return [*self.method.notes(flags, words), *super().notes(flags, words)]

    def finish(
        self, net: CaptionNet, variables: Any, request: Request, tally: Tally
    ) -> dict[str, Maps]:
        """The mean."""
        maps = tally.maps
        flags = {**tally.flags, **sampling_flags(maps)}
        return {self.NAME: Maps(maps.mean, error=maps.error, flags=flags)}


@dataclasses.dataclass(frozen=True)
class VarGrad(Noisy):
    """The variance of a method's maps over noisy copies of the picture; unsigned.

    Where the method's answer hangs on details of the picture. Large values say that a pixel
    matters, not for which way.

    Attributes:
      method: whose maps are taken, by its name, or with options as in ig_pixels+steps=8; one
        that explains log-probabilities.
      samples: noisy copies.
      level: standard deviation of the noise, as a share of the picture's span.
    """

    NAME = "vargrad"
    SOURCE = "Adebayo et al. 2018 (arXiv 1810.03307), section 2"

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Tally:
        """No copies."""
        tally = super().start(net, variables, request)
        zeros = jnp.zeros_like(tally.maps.mean)
        return tally._replace(powers=(zeros, zeros))

    def powers(
        self, tally: Tally, values: Float[Array, "B Q N F h w"], count: Int[Array, ""]
    ) -> tuple[Array, ...]:
        """Pébay 2008 (SAND2008-6212), section 2.2, for one value at a time."""
        squares, (cubes, fourths) = tally.maps.spread, tally.powers
        n = count.astype(jnp.float32)
        way = values - tally.maps.mean
        step = way / n
        grown = way * step * (n - 1)
        fourths += grown * step**2 * (n**2 - 3 * n + 3) + 6 * step**2 * squares - 4 * step * cubes
        cubes += grown * step * (n - 2) - 3 * step * squares
        return cubes, fourths

    def finish(
        self, net: CaptionNet, variables: Any, request: Request, tally: Tally
    ) -> dict[str, Maps]:
        """The variance without bias, and its standard error from the fourth moment."""
        n = self.samples
        variance = tally.maps.spread / (n - 1)
        fourth = tally.powers[1] / n
        error = jnp.sqrt(jnp.maximum(fourth - variance**2 * (n - 3) / (n - 1), 0.0) / n)
        # The method's own flags are of its maps, and say nothing of their variance.
        flags = {"samples": tally.maps.count, "noise": noise(variance, error)}
        return {self.NAME: Maps(variance, error=error, flags=flags)}


def _noisy(
    key: Key[Array, ""], pixels: Float[Array, "F H W 3"], index: Int[Array, ""], *, level: float
) -> Float[Array, "F H W 3"]:
    """One picture's noisy copy."""
    noise = jax.random.normal(jax.random.fold_in(key, index), pixels.shape)
    return pixels + level * (jnp.max(pixels) - jnp.min(pixels)) * noise
