"""Gradient-weighted attention, layer by layer (Chefer, Gur & Wolf 2021, arXiv 2103.15679)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.decoders.gpt2_block import ATTENTION_MOVES, ATTENTIONS
from capjax.encoders.encoder import perturbed
from capjax.explainers.attentions.rollout import mixes_positions
from capjax.explainers.contract import Maps, Method
from capjax.explainers.request import Request
from capjax.types import Features

Slope = tuple[Float[Array, "B F P D"], Float[Array, "B E D"]]
"""Of a scalar by the positions and the off-grid tokens of features."""


class Layer(NamedTuple):
    """A decoder's layer, one matrix of both its attentions: A of equation 5.

    Attributes:
      words: to words, itself among them.
      image: to the positions of all frames, then to off-grid tokens.
    """

    words: Float[Array, "B T T"]
    image: Float[Array, "B T L"]


@dataclasses.dataclass(frozen=True)
class AttentionRelevance(Method):
    """Attention that the target's gradient approves of, followed through encoder and decoder.
    For ViT-GPT2.

    Of every layer the mean over heads of (gradient x attention)^+ is A. Image tokens i and words t
    start with R_ii = 1, R_tt = 1, R_ti = 0; in the order of the layers then

        encoder:          R_ii += A R_ii
        decoder, words:   R_tt += A R_tt,  R_ti += A R_ti
        decoder, image:   R_ti += N(R_tt)' A N(R_ii)

    where N brings the rows of R - 1 to a sum of one and adds 1 again. A word's map is the row of
    R_ti that it is read from, a phrase's the average of its tokens' rows. What came from off-grid
    tokens lies on no patch and is left out; its share is the flag `off_grid_mass`. Values are not
    negative, and compare positions, not words.

    Deviations: the explained scalar takes the place of the paper's logit (measure "logit" is the
    paper's). A row of R - 1 without anything stays so, where the released code makes it NaN and 0.
    """

    NAME = "chefer"
    COST = "one pass forward and one backward per word, and a token x token product a layer"
    SOURCE = "Chefer et al. 2021 (ICCV), equations 5 to 10"

    def prepare(self, net: CaptionNet) -> CaptionNet:
        """Has the encoder keep its attention, where it has any."""
        if not mixes_positions(net):
            return net
        return net.clone(encoder=net.encoder.clone(keep_attention=True))

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Raises ValueError where the decoder has no layers of attention to the image."""
        layers = _encoder_attention(net, request)
        given, features, pull_image = _seen(net, variables, request, layers)

        def of_sentence(asked: Request) -> Any:
            read = _decoder_attention(net, variables, request.features, asked)

            def scores(given: Slope, moves: Any) -> Float[Array, "B N"]:
                moved = dataclasses.replace(features, positions=given[0], extra=given[1])
                words = {**variables, ATTENTION_MOVES: {"decoder": moves}}
                return asked.score(net, words, features=moved)[:, 0]

            values, pull = jax.vjp(scores, given, jax.tree.map(jnp.zeros_like, read))

            def one_target(
                one: tuple[Float[Array, " N"], Float[Array, "B T"]],
            ) -> tuple[Float[Array, "B F P"], Float[Array, " B"]]:
                chosen, share = one
                slope, slopes = pull(jnp.broadcast_to(chosen, values.shape))
                encoder = jax.tree.map(approved, layers, pull_image(slope))
                decoder = jax.tree.map(approved, read, slopes)
                rows = follow(_in_order(encoder), _layers(decoder), features)
                found = jnp.einsum("bt,btfs->bfs", share, rows, precision="highest")
                return _on_grid(found, features)

            targets = (jnp.eye(values.shape[1], dtype=values.dtype), _shares(asked))
            each = jax.lax.map(one_target, targets)
            return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1)[:, None], each)

        maps, off_grid = request.each_sentence(of_sentence)
        flags = {"off_grid_mass": off_grid}
        return {self.NAME: Maps.on_features(maps, request.features, flags=flags)}


def approved(
    attention: Float[Array, "*B H S T"], gradient: Float[Array, "*B H S T"]
) -> Float[Array, "*B S T"]:
    """Equation 5: the mean over heads of the positive part of gradient x attention."""
    return jnp.mean(jax.nn.relu(gradient * attention), axis=-3)


def normalised(relevance: Float[Array, "*B S S"]) -> Float[Array, "*B S S"]:
    """Equations 8 and 9: the rows of R - 1 brought to a sum of one, and 1 added again."""
    eye = jnp.eye(relevance.shape[-1]).reshape((1,) * (relevance.ndim - 2) + relevance.shape[-2:])
    rest = relevance - eye
    total = jnp.sum(rest, axis=-1, keepdims=True)
    return rest / jnp.where(total > 0, total, 1.0) + eye


def follow(
    encoder: Sequence[Float[Array, "B F S S"]], decoder: Sequence[Layer], features: Features
) -> Float[Array, "B T F S"]:
    """R_ti: what each word has of each token that went into the encoder (equations 6, 7, 10).

    Args:
      encoder: of every layer the mean over heads, off-grid tokens first; none of an encoder
        without attention, whose tokens are then the features.
      decoder: of every layer.
      features: that the decoder reads.

    Returns:
      The tokens of a frame in the order that a decoder has them: positions, then off-grid ones.
    """
    batch, frames, cells = features.valid.shape
    rows = _rows(encoder, features)
    tokens = decoder[0].words.shape[-1]
    words = jnp.broadcast_to(jnp.eye(tokens), (batch, tokens, tokens))
    image = jnp.zeros((batch, tokens, frames, rows.shape[-1]))
    for layer in decoder:
        words = words + jnp.matmul(layer.words, words, precision="highest")
        image = image + jnp.einsum("btn,bnfs->btfs", layer.words, image, precision="highest")
        on_grid, off_grid = jnp.split(layer.image, [frames * cells], axis=-1)
        looked = jnp.concatenate(
            [
                on_grid.reshape(batch, tokens, frames, cells),
                off_grid.reshape(batch, tokens, frames, off_grid.shape[-1] // frames),
            ],
            axis=-1,
        )
        came = jnp.einsum("btfp,bfps->btfs", looked, rows, precision="highest")
        image = image + jnp.einsum("bnt,bnfs->btfs", normalised(words), came, precision="highest")
    return image


def _rows(
    encoder: Sequence[Float[Array, "B F S S"]], features: Features
) -> Float[Array, "B F K S"]:
    """N(R_ii) of the K = P + E / F descriptors of a frame that a decoder reads."""
    batch, frames, cells = features.valid.shape
    descriptors = cells + features.extra.shape[1] // frames
    if not encoder:
        return jnp.broadcast_to(jnp.eye(descriptors), (batch, frames, descriptors, descriptors))
    tokens = encoder[0].shape[-1]
    seen = jnp.broadcast_to(jnp.eye(tokens), encoder[0].shape)
    for layer in encoder:
        seen = seen + jnp.matmul(layer, seen, precision="highest")
    # The encoder has off-grid tokens first, a decoder has them last.
    ordered = jnp.roll(normalised(seen), cells - tokens, axis=(-2, -1))
    return ordered[:, :, :descriptors]


def _encoder_attention(net: CaptionNet, request: Request) -> dict[str, Float[Array, "B F H S S"]]:
    """Of every layer of the encoder; none where it has no attention."""
    if not mixes_positions(net):
        return {}
    read = request.features.attentions
    if read is None or request.images is None:
        raise ValueError(
            "chefer follows attention through the encoder: give images, and encode them with the "
            "net that `AttentionRelevance.prepare` returns"
        )
    return {f"block_{number}": read[:, :, number] for number in range(read.shape[2])}


def _decoder_attention(
    net: CaptionNet, variables: Any, features: Features, asked: Request
) -> Mapping[str, Any]:
    """What the decoder's attentions leave behind while it reads the sentence; [B H T S] each."""
    _, left = net.apply(
        variables, features, asked.tokens[:, 0], method="teacher_force", mutable=[ATTENTIONS]
    )
    found: Mapping[str, Any] = left.get(ATTENTIONS, {}).get("decoder", {})
    if not found:
        raise ValueError(
            f"{type(net.decoder).__name__} has no layers of attention, to words and to the image, "
            "that chefer could follow; choose another method, for instance gradcam"
        )
    return found


def _seen(
    net: CaptionNet, variables: Any, request: Request, layers: Mapping[str, Array]
) -> tuple[Slope, Features, Callable[[Slope], Any]]:
    """(positions, extra) of the features, the features, and the way back to the attention."""

    def parts(moves: Any) -> tuple[Slope, Features]:
        seen: Any = request.features
        if layers:
            moved = perturbed(variables, {}, moves)
            seen = net.apply(moved, request.images, method="encode")
        return (seen.positions, seen.extra), seen

    zeros = jax.tree.map(jnp.zeros_like, dict(layers))
    given, pull, seen = jax.vjp(parts, zeros, has_aux=True)
    return given, seen, lambda slope: pull(slope)[0]


def _in_order(blocks: Mapping[str, Any]) -> list[Any]:
    """block_0, block_1, …"""
    return [blocks[f"block_{number}"] for number in range(len(blocks))]


def _layers(decoder: Mapping[str, Any]) -> list[Layer]:
    return [
        Layer(block["attention"]["weights"], block["cross_attention"]["weights"])
        for block in _in_order(decoder)
    ]


def _shares(asked: Request) -> Float[Array, "N B T"]:
    """Of a target's tokens, with |weights|; they sum to one."""
    used = jnp.abs(asked.used[:, 0]).swapaxes(0, 1)
    total = jnp.sum(used, axis=-1, keepdims=True)
    return used / jnp.where(total > 0, total, 1.0)


def _on_grid(
    found: Float[Array, "B F S"], features: Features
) -> tuple[Float[Array, "B F P"], Float[Array, " B"]]:
    """What lies on positions, and the share of what does not."""
    on_grid = found[..., : features.positions.shape[2]]
    whole, kept = jnp.sum(found, axis=(1, 2)), jnp.sum(on_grid, axis=(1, 2))
    return on_grid, jnp.where(whole > 0, 1 - kept / jnp.where(whole > 0, whole, 1.0), 0.0)
