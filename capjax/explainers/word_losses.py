"""What one descriptor alone says of every word: the core of caption-guided saliency.

Ramanishka et al. 2017, equations 6, 7 and 13.

The captioner reads a sentence after seeing one descriptor v_i and nothing else; q_i(y_t) is its
distribution of word t then, and p(y_t) the one after seeing everything.

    Loss(t, i) = -log q_i(y_t = w_t)      (eqs 7 and 13)
    KL(t, i)   = KL(p(y_t) || q_i(y_t))   (eq 6: how well v_i represents all descriptors)

Letters: B images, N sentences of each, T tokens, F frames, P positions, V words, h hidden size.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.ops.linear import affine
from capjax.types import Features

PROCESSOR_BUDGET = 192 * 2**20
"""Bytes of intermediate results on a processor; from 96 to 384 MB, 192 was the fastest."""

ACCELERATOR_BUDGET = 1536 * 2**20
"""Bytes of intermediate results on an accelerator: products large enough to fill it."""

LOGITS_SHARE = 4
"""One part in so many of the budget goes to a block of logits, the others to decoder states."""


class WordLosses(NamedTuple):
    """Of every position of every frame, every word and every sentence.

    Attributes:
      loss: [B N T F P] nats, -log q_i(w_t); NaN at positions that are padding.
      kl: [B N T F P] nats, KL(p(y_t) || q_i(y_t)); None where it was not asked for.
    """

    loss: Float[Array, "B N T F P"]
    kl: Float[Array, "B N T F P"] | None


class _Reference(NamedTuple):
    """What KL needs of p(y_t), so that no position has to sum over the vocabulary again.

    KL(p || q) = sum_w p log p - sum_w p(w) (h_q . W_w + b_w) + log-sum-exp of q's logits
               = offset - h_q . mixture + log-sum-exp of q's logits.
    """

    mixture: Float[Array, "B N T h"]
    offset: Float[Array, "B N T"]


@functools.partial(jax.jit, static_argnames=("net", "kl", "budget", "mesh"))
def word_losses(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B N T"],
    *,
    kl: bool = False,
    budget: int | None = None,
    mesh: Mesh | None = None,
) -> WordLosses:
    """Losses of every word at every position, in one call.

    Exact: the same numbers as a loop over sentences, positions and words. What does not depend on
    the position (embeddings, their input products) is computed once a word, what does not depend
    on the sentence (the state after reading v_i) once a position; the vocabulary is summed over in
    blocks of rows, so that [B N T F P V] never exists. The cost is linear in each of B, N, T and
    F·P. KL is the same cost and one ordinary pass: sum_w p(w) log q_i(w) needs p only through the
    vector sum_w p(w) W_w, of the size of the hidden state.

    Deviations from the released code: eq 6 is implemented; sentences are not cut at 25 words; the
    end token has a loss like any other; nothing is scaled (see `capjax.explainers.scaling`).
    Features that an encoder has already mixed over positions (a transformer's) give the evidence
    stored at a position, which need not have come from it.

    Args:
      net, variables: the captioner; products run in its decoder's `dtype`, sums and logarithms in
        float32.
      features: as the encoder made them; `Features.frame_means` of a clip for temporal maps.
      tokens: sentences, end token included where there is one; padding may be anything, and its
        losses mean nothing.
      kl: whether to compute eq 6 too.
      budget: bytes that intermediate results may take, about; default by platform. Weights,
        features and results come on top.
      mesh: devices over which images and positions are divided.
    """
    if tokens.ndim != 3:
        raise ValueError(f"got tokens of shape {tokens.shape}; expected [B N T]")
    frames, positions = features.positions.shape[1:3]
    index = jnp.arange(frames * positions)
    if mesh is None:
        loss, divergence = _losses(net, variables, features, tokens, index, kl=kl, budget=budget)
    else:
        loss, divergence = _on_mesh(mesh, net, variables, features, tokens, index, kl, budget)

    def on_grid(values: Array) -> Array:
        values = values.reshape(*values.shape[:-1], frames, positions)
        return jnp.where(features.valid[:, None, None], values, jnp.nan)

    return WordLosses(on_grid(loss), None if divergence is None else on_grid(divergence))


def _on_mesh(
    mesh: Mesh,
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Array,
    index: Array,
    kl: bool,
    budget: int | None,
) -> tuple[Array, Array | None]:
    """`_losses` with images over as many devices as divide them, positions over the others."""
    rows = math.gcd(tokens.shape[0], mesh.size)
    columns = mesh.size // rows
    grid = Mesh(np.asarray(mesh.devices).reshape(rows, columns), ("image", "position"))
    count = index.shape[0]
    padded = jnp.arange(-(-count // columns) * columns) % count
    parts = PartitionSpec("image", None, None, "position")
    divided = jax.shard_map(
        functools.partial(_losses, net, kl=kl, budget=budget),
        mesh=grid,
        in_specs=(
            PartitionSpec(),
            PartitionSpec("image"),
            PartitionSpec("image"),
            PartitionSpec("position"),
        ),
        out_specs=(parts, parts if kl else None),
        check_vma=False,  # loops start from zeros, which are the same on every device
    )
    found = divided(variables, features, tokens, padded)
    loss, divergence = jax.tree.map(lambda values: values[..., :count], found)
    return loss, divergence


def _losses(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B N T"],
    index: Int[Array, " I"],
    *,
    kl: bool,
    budget: int | None,
) -> tuple[Float[Array, "B N T I"], Float[Array, "B N T I"] | None]:
    """Loss and divergence at the positions `index`, numbered through all frames.

    As many sentences at as many positions as the budget allows go through the decoder together:
    all of an image's positions before a second sentence, all sentences before a second image.
    """
    if budget is None:
        processor = jax.default_backend() == "cpu"
        budget = PROCESSOR_BUDGET if processor else ACCELERATOR_BUDGET
    kernel, bias = cast(Any, net.apply(variables, method="head"))
    head = kernel.astype(net.decoder.dtype), bias  # rounded once, not in every block
    images, sentences, _ = tokens.shape
    room = _room(net, variables, features, tokens, budget)
    image_group = max(1, min(images, room))
    sentence_group = max(1, min(sentences, room // image_group))
    position_group = max(1, room // (image_group * sentence_group))
    rows = max(1, budget // (LOGITS_SHARE * 4 * head[0].shape[1]))

    def force(features: Features, tokens: Int[Array, "B N T"]) -> Float[Array, "B N T h"]:
        read = functools.partial(net.apply, variables, method="teacher_force")
        return jax.vmap(lambda words: read(features, words)[0], in_axes=1, out_axes=1)(tokens)

    def of_group(features: Features, tokens: Int[Array, "B N T"]) -> Any:
        reference = _refer(net, head, force(features, tokens), rows) if kl else None
        cells = features.positions.shape[2]

        def at(places: Int[Array, " I"]) -> Any:
            def alone(place: Int[Array, ""]) -> Float[Array, "B N T h"]:
                return force(features.only(place // cells, place % cells), tokens)

            return _compare(net, head, jax.vmap(alone)(places), tokens, reference, rows)

        return _in_groups(at, index, position_group)  # [I B N T]

    def of_images(given: tuple[Features, Int[Array, "B N T"]]) -> Any:
        features, tokens = given
        by_sentence = _in_groups(
            lambda group: _move(of_group(features, group.swapaxes(0, 1)), 2, 0),
            tokens.swapaxes(0, 1),
            sentence_group,
        )  # [N I B T]
        return _move(by_sentence, 2, 0)  # [B N I T]

    found = _in_groups(of_images, (features, tokens), image_group)
    return _move(found, 3, 2)


def _move(arrays: Any, source: int, destination: int) -> Any:
    return jax.tree.map(lambda array: jnp.moveaxis(array, source, destination), arrays)


def _compare(
    net: CaptionNet,
    head: tuple[Array, Array],
    hidden: Float[Array, "I B N T h"],
    tokens: Int[Array, "B N T"],
    reference: _Reference | None,
    rows: int,
) -> tuple[Float[Array, "I B N T"], Float[Array, "I B N T"] | None]:
    """Loss and divergence of every word after every position."""
    words = jnp.broadcast_to(tokens, hidden.shape[:-1])

    def block(given: tuple[Array, Array]) -> tuple[Array, Array]:
        states, chosen = given
        logits = affine(states, *head, net.decoder.dtype)
        total = jax.nn.logsumexp(logits, axis=1)
        return total, total - jnp.take_along_axis(logits, chosen[:, None], axis=1)[:, 0]

    flat = (hidden.reshape(-1, hidden.shape[-1]), words.reshape(-1))
    total, loss = (found.reshape(words.shape) for found in _in_groups(block, flat, rows))
    if reference is None:
        return loss, None
    rounded = hidden.astype(net.decoder.dtype).astype(hidden.dtype)
    shared = jnp.einsum("ibnth,bnth->ibnt", rounded, reference.mixture, precision="highest")
    return loss, reference.offset[None] - shared + total


def _refer(
    net: CaptionNet, head: tuple[Array, Array], hidden: Float[Array, "B N T h"], rows: int
) -> _Reference:
    kernel = head[0].astype(hidden.dtype)

    def block(states: Float[Array, "R h"]) -> tuple[Array, Array]:
        logits = affine(states, *head, net.decoder.dtype)
        logs = jax.nn.log_softmax(logits)
        share = jnp.exp(logs)
        offset = jnp.sum(share * (logs - head[1][None]), axis=1)
        return jnp.matmul(share, kernel.T, precision="highest"), offset

    mixture, offset = _in_groups(block, hidden.reshape(-1, hidden.shape[-1]), rows)
    return _Reference(mixture.reshape(hidden.shape), offset.reshape(hidden.shape[:-1]))


def _room(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B N T"],
    budget: int,
) -> int:
    """How many sentences, each at one position, fit into the budget beside a block of logits."""

    def one(features: Features, tokens: Array) -> tuple[Any, Any]:
        reduced = features.only(0, 0)
        carry, _ = net.apply(variables, reduced, 1, method="start")
        return carry, net.apply(variables, reduced, tokens[:, 0], method="teacher_force")[0]

    carry, hidden = jax.eval_shape(one, features, tokens)
    images, length, width = hidden.shape
    state = sum(leaf.size for leaf in jax.tree.leaves(carry)) // images
    # Of every step the state (a transformer's are its keys and values), what the decoder makes of
    # it and the context it read; of one step the gates, before and after their nonlinearity.
    numbers = length * (state + width + features.positions.shape[-1]) + 8 * state
    return max(1, (budget - budget // LOGITS_SHARE) // (hidden.dtype.itemsize * numbers))


def _in_groups(function: Callable[[Any], Any], values: Any, size: int) -> Any:
    """`function` of arrays along their leading axis, at most `size` entries at a time.

    Groups are of one size, as equal as that allows; the last one is filled up with its last entry,
    whose results are dropped.
    """
    count = jax.tree.leaves(values)[0].shape[0]
    if size >= count:
        return function(values)
    groups = -(-count // size)
    size = -(-count // groups)
    entries = jnp.minimum(jnp.arange(groups * size), count - 1).reshape(groups, size)
    found = jax.lax.map(lambda own: function(jax.tree.map(lambda leaf: leaf[own], values)), entries)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], found)
