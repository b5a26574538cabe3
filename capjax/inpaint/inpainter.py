"""An inpainter: a generator, its weights and what it was trained on, as one frozen object.

A saved one is a folder:

    inpainter.json                   settings, size it was trained at, digest of the weights, card
    inpainter-<digest>.safetensors   the weights
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import linen as nn
from flax import traverse_util
from jaxtyping import Array, Bool, UInt8

from capjax.checkpoints.settings import module_to_json
from capjax.checkpoints.weights_file import model_digest
from capjax.inpaint.generator import Generator
from capjax.inpaint.pixels import as_bytes, as_floats
from capjax.runtime.files import replacing, without_places

FORMAT = 1
INPAINTER_FILE = "inpainter.json"
GENERATORS: Mapping[str, type[nn.Module]] = {"gated": Generator}


@dataclasses.dataclass(frozen=True, eq=False)
class Inpainter:
    """An inpainter on the host.

    Attributes:
      net: the static module.
      variables: {"params": …}, float32.
      size: (H, W) of the pictures that it was trained on; larger holes than these had are
        harder for it.
      card: where it comes from (data, licence, scores); plain JSON values.
    """

    net: Generator
    variables: Mapping[str, Any]
    size: tuple[int, int] = (256, 256)
    card: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def hash(self) -> str:
        """Digest of all that decides a filled picture: settings and weights."""
        return model_digest(self._static(), _flatten(self.variables))

    def in_precision(self, dtype: str | None) -> "Inpainter":
        """The same inpainter with activations in "float32" or "bfloat16"; None: as they are."""
        if dtype is None:
            return self
        return dataclasses.replace(self, net=self.net.clone(dtype=jnp.dtype(dtype)))

    def save(self, folder: str | os.PathLike[str], *, storage: str = "float32") -> None:
        """Writes `inpainter.json` and the weights it names into `folder`.

        `inpainter.json` replaces its predecessor last, in one rename: a reader finds the old
        inpainter or the new one. Of absolute paths in the card the last name is kept.

        Args:
          folder: created where missing.
          storage: dtype of the weights on disk; "float16" halves the file and rounds the weights.
        """
        folder = pathlib.Path(folder)
        arrays = {
            name: np.asarray(value).astype(storage, order="C")
            for name, value in _flatten(self.variables).items()
        }
        payload = safetensors.numpy.save(arrays)
        sha256 = hashlib.sha256(payload).hexdigest()
        named = {"file": f"inpainter-{sha256[:12]}.safetensors", "sha256": sha256}
        content = {"format": FORMAT, **self._static(), "weights": named}
        described = json.dumps({**content, "card": without_places(self.card)}, indent=2) + "\n"
        for name, own in ((named["file"], payload), (INPAINTER_FILE, described.encode())):
            with replacing(folder / name, durable=True) as stream:
                stream.write(own)
        for stale in folder.glob("inpainter-*.safetensors"):
            if stale.name != named["file"]:
                stale.unlink(missing_ok=True)

    def _static(self) -> dict[str, Any]:
        return {"generator": module_to_json(self.net, GENERATORS), "size": list(self.size)}


@functools.partial(jax.jit, static_argnames="net")
def fill_holes(
    net: Generator,
    variables: Any,
    images: UInt8[Array, "B H W 3"],
    masks: Bool[Array, "B H W"],
) -> UInt8[Array, "B H W 3"]:
    """RGB pictures with what `net` imagines where masks are True; other pixels are as they were.

    Raises:
      ValueError: as `Generator`.
    """
    holes = masks[..., None]
    found: Any = net.apply(variables, as_floats(images), holes.astype(jnp.float32))
    return jnp.where(holes, as_bytes(found.refined), images)


def _flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.flatten_dict(dict(variables), sep="/")
