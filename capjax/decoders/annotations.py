"""The annotation vectors of an image as attention reads them, the same for every word.

Shapes: L annotation vectors of size D, A attention size, F frames of P positions.
"""

from flax import struct
from jaxtyping import Array, Bool, Float


@struct.dataclass
class Memory:
    """What attention reads at every step; computed once an image.

    Attributes:
      values: [B L D] annotation vectors a_i.
      keys: [B L A] their projection for the attention score.
      valid: [B L] False for padding, which gets no attention.
      share: [B F P] how much of an annotation vector's attention a position gets: 1, or its share
        of the frame's mean.
    """

    values: Float[Array, "B L D"]
    keys: Float[Array, "B L A"]
    valid: Bool[Array, "B L"]
    share: Float[Array, "B F P"]

    def on_grid(self, alpha: Float[Array, "B *T L"]) -> Float[Array, "B *T F P"]:
        """Attention of positions from that of annotation vectors."""
        batch, frames, positions = self.share.shape
        folded = alpha.reshape(*alpha.shape[:-1], frames, alpha.shape[-1] // frames)
        if folded.shape[-1] == positions:
            return folded
        return folded * self.share.reshape(batch, *(1,) * (alpha.ndim - 2), frames, positions)
