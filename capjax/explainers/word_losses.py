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
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.ops.groups import in_groups
from capjax.ops.linear import affine
from capjax.ops.platform import on_processor
from capjax.ops.vocabulary_loss import vocabulary_loss
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
    alone = _alone(features)
    if mesh is None:
        loss, divergence = _losses(net, variables, features, alone, tokens, kl=kl, budget=budget)
    else:
        loss, divergence = _on_mesh(mesh, net, variables, features, alone, tokens, kl, budget)

    def on_grid(values: Array) -> Array:
        values = values.reshape(*values.shape[:-1], frames, positions)
        return jnp.where(features.valid[:, None, None], values, jnp.nan)

    return WordLosses(on_grid(loss), None if divergence is None else on_grid(divergence))


def _alone(features: Features) -> Features:
    """The features reduced to each position, as `Features.only` does; leaves [I B ...], I = F P.

    Positions are values here, not indices: a group of them is a block of memory, where indices
    would be looked up in a copy of all features for each position.
    """

    def first(leaf: Array) -> Array:
        batch, frames, positions, *rest = leaf.shape
        flat = jnp.moveaxis(leaf.reshape(batch, frames * positions, *rest), 1, 0)
        return flat.reshape(frames * positions, batch, 1, 1, *rest)

    positions = first(features.positions)
    nothing = features.extra[:, :0]
    return Features(
        positions=positions,
        extra=jnp.broadcast_to(nothing, (positions.shape[0], *nothing.shape)),
        valid=first(features.valid),
        grid=(1, 1),
    )


def _on_mesh(
    mesh: Mesh,
    net: CaptionNet,
    variables: Any,
    features: Features,
    alone: Features,
    tokens: Array,
    kl: bool,
    budget: int | None,
) -> tuple[Array, Array | None]:
    """`_losses` with images over as many devices as divide them, positions over the others."""
    rows = math.gcd(tokens.shape[0], mesh.size)
    columns = mesh.size // rows
    grid = Mesh(np.asarray(mesh.devices).reshape(rows, columns), ("image", "position"))
    count = alone.valid.shape[0]
    if count % columns:
        entries = jnp.arange(-(-count // columns) * columns) % count
        alone = jax.tree.map(lambda leaf: leaf[entries], alone)
    parts = PartitionSpec("image", None, None, "position")
    divided = jax.shard_map(
        functools.partial(_losses, net, kl=kl, budget=budget),
        mesh=grid,
        in_specs=(
            PartitionSpec(),
            PartitionSpec("image"),
            PartitionSpec("position", "image"),
            PartitionSpec("image"),
        ),
        out_specs=(parts, parts if kl else None),
        check_vma=False,  # loops start from zeros, which are the same on every device
    )
    found = divided(variables, features, alone, tokens)
    loss, divergence = jax.tree.map(lambda values: values[..., :count], found)
    return loss, divergence


class _Plan(NamedTuple):
    """What goes through the decoder together, and how many of its states then meet the vocabulary.

    All of an image's positions before a second sentence, all sentences before a second image.
    """

    images: int
    sentences: int
    positions: int
    rows: int


def _losses(
    net: CaptionNet,
    variables: Any,
    features: Features,
    alone: Features,
    tokens: Int[Array, "B N T"],
    *,
    kl: bool,
    budget: int | None,
) -> tuple[Float[Array, "B N T I"], Float[Array, "B N T I"] | None]:
    """Loss and divergence at every position of `alone`."""

    def planned(plan: _Plan) -> Callable[..., Any]:
        return functools.partial(_by_plan, net, kl=kl, plan=plan)

    arguments = (variables, features, alone, tokens)
    budgets = (PROCESSOR_BUDGET, ACCELERATOR_BUDGET) if budget is None else (budget, budget)
    processor, accelerator = _plans(net, variables, alone, tokens, budgets)
    if processor == accelerator:
        return cast(Any, planned(processor)(*arguments))
    return cast(Any, on_processor(planned(processor), planned(accelerator), *arguments))


def _by_plan(
    net: CaptionNet,
    variables: Any,
    features: Features,
    alone: Features,
    tokens: Int[Array, "B N T"],
    *,
    kl: bool,
    plan: _Plan,
) -> Any:
    kernel, bias = cast(Any, net.apply(variables, method="head"))
    head = kernel.astype(net.decoder.dtype), bias  # rounded once, not in every block

    def force(features: Features, tokens: Int[Array, "B N T"]) -> Float[Array, "B N T h"]:
        read = functools.partial(net.apply, variables, method="teacher_force")
        return jax.vmap(lambda words: read(features, words)[0], in_axes=1, out_axes=1)(tokens)

    def of_sentences(features: Features, alone: Features, tokens: Int[Array, "N B T"]) -> Any:
        tokens = tokens.swapaxes(0, 1)
        reference = _refer(net, head, force(features, tokens), plan.rows) if kl else None

        def at(places: Features) -> Any:
            hidden = jax.vmap(lambda place: force(place, tokens))(places)
            # Words first, as a recurrence stacks its states: nothing has to be moved.
            hidden = jnp.moveaxis(hidden, 3, 0)
            return _move(_compare(net, head, hidden, tokens, reference, plan.rows), 1, 0)

        return _move(in_groups(at, plan.positions, alone), 3, 0)  # [N I T B]

    def of_images(features: Features, alone: Features, tokens: Int[Array, "B N T"]) -> Any:
        own = functools.partial(of_sentences, features, alone)
        return _move(in_groups(own, plan.sentences, tokens.swapaxes(0, 1)), 3, 0)  # [B N I T]

    found = in_groups(of_images, plan.images, features, alone, tokens, axes=(0, 1, 0))
    return _move(found, 3, 2)


def _move(arrays: Any, source: int, destination: int) -> Any:
    return jax.tree.map(lambda array: jnp.moveaxis(array, source, destination), arrays)


def _compare(
    net: CaptionNet,
    head: tuple[Array, Array],
    hidden: Float[Array, "T I B N h"],
    tokens: Int[Array, "B N T"],
    reference: _Reference | None,
    rows: int,
) -> tuple[Float[Array, "T I B N"], Float[Array, "T I B N"] | None]:
    """Loss and divergence of every word after every position."""
    words = jnp.broadcast_to(jnp.moveaxis(tokens, 2, 0)[:, None], hidden.shape[:-1])

    total, logit = vocabulary_loss(hidden, *head, words, dtype=net.decoder.dtype, rows=rows)
    loss = total - logit
    if reference is None:
        return loss, None
    rounded = hidden.astype(net.decoder.dtype).astype(hidden.dtype)
    shared = jnp.einsum("tibnh,bnth->tibn", rounded, reference.mixture, precision="highest")
    return loss, jnp.moveaxis(reference.offset, 2, 0)[:, None] - shared + total


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

    mixture, offset = in_groups(block, rows, hidden.reshape(-1, hidden.shape[-1]))
    return _Reference(mixture.reshape(hidden.shape), offset.reshape(hidden.shape[:-1]))


def _plans(
    net: CaptionNet,
    variables: Any,
    alone: Features,
    tokens: Int[Array, "B N T"],
    budgets: Sequence[int],
) -> list[_Plan]:
    """As many sentences, each at one position, as fit into a budget beside a block of logits."""

    def one(alone: Features, tokens: Array) -> tuple[Any, Any, Any]:
        reduced = jax.tree.map(lambda leaf: leaf[0], alone)
        carry, _ = net.apply(variables, reduced, 1, method="start")
        hidden, _ = net.apply(variables, reduced, tokens[:, 0], method="teacher_force")
        return carry, hidden, net.apply(variables, method="head")[1]

    carry, hidden, bias = jax.eval_shape(one, alone, tokens)
    images, length, width = hidden.shape
    state = sum(leaf.size for leaf in jax.tree.leaves(carry)) // images
    # Of every step the state (a transformer's are its keys and values), what the decoder makes of
    # it and the context it read; of one step the gates, before and after their nonlinearity.
    numbers = length * (state + width + alone.positions.shape[-1]) + 8 * state

    def plan(budget: int) -> _Plan:
        room = max(1, (budget - budget // LOGITS_SHARE) // (hidden.dtype.itemsize * numbers))
        own = min(images, room)
        sentences = min(tokens.shape[1], max(1, room // own))
        positions = min(alone.valid.shape[0], max(1, room // (own * sentences)))
        rows = max(1, budget // (LOGITS_SHARE * 4 * bias.shape[0]))
        return _Plan(own, sentences, positions, min(rows, own * sentences * positions * length))

    return [plan(budget) for budget in budgets]
