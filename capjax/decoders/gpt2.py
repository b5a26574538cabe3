"""GPT-2 (Radford et al. 2019) with cross-attention to an image: the decoder of ViT-GPT2.

Shapes: L = F * P + E descriptors, N tokens that a cache has room for, H heads of size d, D width.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from capjax import rng
from capjax.decoders import cell
from capjax.decoders.gpt2_block import Block, Heads, Kept, layer_norm
from capjax.ops.linear import product
from capjax.types import NO_TOKEN, Features


@struct.dataclass
class Cache:
    """Keys and values of the tokens so far: the carry of a decoding loop.

    Attributes:
      position: [B] how many tokens there are; what a cache holds beyond them means nothing.
      layers: of each layer.
    """

    position: Int[Array, " B"]
    layers: tuple[Heads, ...]


@struct.dataclass
class Memory:
    """What cross-attention reads at every step; computed once an image, shared by its beams.

    Attributes:
      layers: keys and values of each layer: positions first, then off-grid descriptors.
      valid: [B L] False for padding, which gets no attention.
      grid: (F, P); static.
    """

    layers: tuple[Heads, ...]
    valid: Bool[Array, "B L"]
    grid: tuple[int, int] = struct.field(pytree_node=False)

    def on_grid(self, attention: Float[Array, "B T L"]) -> Float[Array, "B T F P"]:
        """The attention of positions; what off-grid descriptors get is missing from its sum."""
        frames, positions = self.grid
        on_grid = attention[..., : frames * positions]
        return on_grid.reshape(*attention.shape[:-1], frames, positions)


class GPT2(nn.Module):
    """The language model of ViT-GPT2 (`nlpconnect/vit-gpt2-image-captioning`).

    One block: x += attention(norm1 x); x += cross_attention(norm_cross x, image); x += mlp(norm2 x)
    with gelu's tanh form. Cross-attention reads positions and off-grid descriptors (the class
    token) alike. logits = norm(x) E', where E is the table of token embeddings. The carry of a
    decoding loop is a cache of keys and values; teacher forcing builds none.

    Attention maps are the means over heads and over `attention_layers`; what off-grid descriptors
    get is not put back.

    Attributes:
      vocab_size: V.
      features: D of the encoder.
      width, layers, heads, mlp: of the transformer; the defaults are GPT-2's smallest.
      positions: most tokens of a caption.
      start_token: id of the first input.
      epsilon: of the layer norms.
      attention_layers: which layers' cross-attention is shown, counted from 0; none for all.
      embedding_dropout, attention_dropout, residual_dropout: on the sum of embeddings, on
        attention weights, on what each part of a block adds.
      dtype: of products; the residual stream, norms and softmax are float32.
    """

    vocab_size: int
    features: int
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    positions: int = 1024
    start_token: int = 50256
    epsilon: float = 1e-5
    attention_layers: tuple[int, ...] = ()
    embedding_dropout: float = 0.1
    attention_dropout: float = 0.1
    residual_dropout: float = 0.1
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self._check_fields()
        normal = nn.initializers.normal
        self.embeddings = self.param("embedding", normal(0.02), (self.vocab_size, self.width))
        self.position_embeddings = self.param(
            "position_embedding", normal(0.01), (self.positions, self.width)
        )
        self.block = [
            Block(
                self.width,
                self.heads,
                self.mlp,
                self.layers,
                self.epsilon,
                self.attention_dropout,
                self.residual_dropout,
                self.dtype,
            )
            for _ in range(self.layers)
        ]
        self.norm = layer_norm(self.epsilon, self.dtype)

    def start(self, features: Features, length: int | None = None) -> tuple[Cache, Memory]:
        """An empty cache with room for `length` tokens (default: `positions`), and the image."""
        length = self.positions if length is None else length
        self._check_length(length)
        batch = features.positions.shape[0]
        size = self.width // self.heads
        keys = jnp.zeros((batch, self.heads, size, length), self.dtype)
        values = jnp.zeros((batch, self.heads, length, size), self.dtype)
        empty = Cache(jnp.zeros((batch,), jnp.int32), ((keys, values),) * self.layers)
        return empty, self._see(features)

    def step(
        self, carry: Cache, token: Int[Array, " B"], memory: Memory
    ) -> tuple[Cache, Float[Array, "B D"], Float[Array, "B F P"]]:
        """One word further: `token` is the previous word (NO_TOKEN at first)."""
        x = self._embed(token) + self.position_embeddings[carry.position]
        x = x[:, None]
        places = jnp.arange(carry.layers[0][1].shape[2])[None]
        here = places == carry.position[:, None]
        seen = (places <= carry.position[:, None])[:, None, None]
        layers, looked = [], []
        for block, cached, image in zip(self.block, carry.layers, memory.layers, strict=True):
            x, own, attention = block(x, seen, image, memory.valid, cached=cached, here=here)
            layers.append(own)
            looked.append(attention)
        shown = memory.on_grid(self._shown(looked))
        return Cache(carry.position + 1, tuple(layers)), self.norm(x)[:, 0], shown[:, 0]

    def readout(self, hidden: Float[Array, "*N D"]) -> Float[Array, "*N V"]:
        """Logits, in float32."""
        return product(hidden, self.embeddings.T, self.dtype)

    def head(self) -> tuple[Float[Array, "D V"], Float[Array, " V"]]:
        """The affine layer that `readout` applies: the embeddings once more, and no bias."""
        return self.embeddings.T, jnp.zeros((self.vocab_size,), self.embeddings.dtype)

    def __call__(
        self,
        features: Features,
        tokens: Int[Array, "B T"],
        keys: Key[Array, " B"] | None = None,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "B T F P"]]:
        """Teacher forcing: what `scan(step)` returns, all tokens at once under a causal mask.

        Args:
          features: of the images.
          tokens: the words to predict; the shift happens here.
          keys: one key an example turns dropout on.
        """
        length = tokens.shape[1]
        self._check_length(length)
        memory = self._see(features)
        embedded = cell.read_words(self, self._embed(cell.shift(tokens)))
        x = embedded + self.position_embeddings[:length][None]
        x = rng.dropout(x, self.embedding_dropout, keys=rng.child(keys, "embedding"))
        causal = jnp.tril(jnp.ones((length, length), bool))[None, None]
        looked = []
        everything = self._kept(keys, length, memory.valid.shape[1])
        for block, image, kept in zip(self.block, memory.layers, everything, strict=True):
            x, _, attention = block(x, causal, image, memory.valid, kept=kept)
            looked.append(attention)
        return self.norm(x), memory.on_grid(self._shown(looked))

    def _see(self, features: Features) -> Memory:
        batch, frames, positions, depth = features.positions.shape
        if depth != self.features:
            raise ValueError(f"got features of depth {depth}; this decoder expects {self.features}")
        descriptors = features.positions.reshape(batch, frames * positions, depth)
        descriptors = jnp.concatenate([descriptors, features.extra], axis=1)
        off_grid = jnp.ones(features.extra.shape[:2], bool)
        valid = jnp.concatenate([features.valid.reshape(batch, -1), off_grid], axis=1)
        layers = tuple(block.remember(descriptors) for block in self.block)
        return Memory(layers, valid, (frames, positions))

    def _kept(self, keys: Key[Array, " B"] | None, tokens: int, descriptors: int) -> Sequence[Kept]:
        """Draws at once what dropout keeps in all blocks.

        Each block would have five generators, and compiling one takes a second.
        """

        def draw(name: str, rate: float, *shape: int) -> Sequence[Array | None]:
            own = rng.child(keys, name)
            if own is None or rate == 0.0:
                return [None] * self.layers
            width = math.prod(shape) * self.layers
            keep = rng.keep_mask(own, rate, length=tokens, width=width)
            # What grows with padding stands first, so that padding comes last and changes no draw.
            keep = keep.reshape(*keep.shape[:2], shape[0], self.layers, *shape[1:])
            return list(jnp.moveaxis(keep, 3, 0))

        return [
            Kept(*parts)
            for parts in zip(
                draw("tokens", self.attention_dropout, tokens, self.heads),
                draw("image", self.attention_dropout, descriptors, self.heads),
                draw("added", self.residual_dropout, 3, self.width),
                strict=True,
            )
        ]

    def _embed(self, tokens: Int[Array, "*N"]) -> Float[Array, "*N D"]:
        return self.embeddings[jnp.where(tokens == NO_TOKEN, self.start_token, tokens)]

    def _shown(self, looked: list[Float[Array, "B T L"]]) -> Float[Array, "B T L"]:
        chosen = [looked[number] for number in self.attention_layers] or looked
        return sum(chosen[1:], chosen[0]) / len(chosen)

    def _check_length(self, length: int) -> None:
        if length > self.positions:
            raise ValueError(
                f"got captions of up to {length} tokens; this decoder has position embeddings for "
                f"{self.positions}: ask for at most so many"
            )

    def _check_fields(self) -> None:
        if self.width % self.heads:
            raise ValueError(
                f"got width={self.width} and heads={self.heads}; heads divide the width"
            )
        if not 0 <= self.start_token < self.vocab_size:
            raise ValueError(
                f"got start_token={self.start_token} and a vocabulary of {self.vocab_size}; "
                "choose one of its ids, for example text.bos"
            )
        strange = [number for number in self.attention_layers if not 0 <= number < self.layers]
        if strange:
            raise ValueError(
                f"attention_layers names {strange}; this decoder has layers 0 to {self.layers - 1}"
            )


TINY: dict[str, int] = {"width": 32, "layers": 2, "heads": 4, "mlp": 64, "positions": 32}
"""Fields of a model for tests and first tries."""
