"""One update of two players: first the discriminator, then the generator against the new one.

Both learn from the same batch: the generator's pass that makes the discriminator's fakes is the
pass that its own gradient flows back through, which saves a quarter of an update. Yu et al. 2019
load a fresh batch for each player; with the same one the discriminator sees the fakes of the very
weights that are updated next, and an update is a function of one position in the stream.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from capjax.train.adversarial.players import DISCRIMINATOR, GENERATOR, Players
from capjax.train.objectives.objective import Batch, Metrics
from capjax.train.state import AVERAGE, TrainState
from capjax.train.step import StepFunction, averaged, in_parts

Optimizers = Mapping[str, optax.GradientTransformation]
"""Of each player, by its name."""


def create_players_state(
    params: Mapping[str, Any],
    statistics: Mapping[str, Any],
    optimizers: Optimizers,
    *,
    key: Key[Array, ""],
    average: bool = False,
) -> TrainState:
    """The state before the first update.

    Args:
      params: of each player, by its name.
      statistics: of the discriminator, as `{"discriminator": …}`; empty without one.
      optimizers: of the same players.
      key: root of the run's random numbers.
      average: keep a moving average of the generator's parameters, which is evaluated and saved.
    """
    moving = {AVERAGE: {GENERATOR: jax.tree.map(jnp.copy, params[GENERATOR])}} if average else {}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=dict(params),
        frozen={},
        batch_stats=dict(statistics),
        opt_state={name: optimizers[name].init(own) for name, own in params.items()},
        key=key,
        moving=moving,
    )


def make_players_step(
    players: Players,
    optimizers: Optimizers,
    *,
    schedule: optax.Schedule,
    accumulate: int = 1,
    average_decay: float = 0.0,
) -> StepFunction:
    """The update rule `(state, batch) -> (state, metrics)`, not yet jitted.

    Metrics are those of both losses, `learning_rate`, each player's `…_gradient_norm`, and
    `gradient_norm` and `update_norm` of both together: while these are finite, so are all weights.

    Args:
      players: their losses.
      optimizers: of the players that the state has.
      schedule: the generator's learning rate by updates done, for the metrics.
      accumulate: parts of a batch whose gradients are computed one after the other, in a part of
        the memory, for the same update; the generator then makes each part twice.
      average_decay: of the moving average of the generator's parameters; 0: none.
    """

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        batch = players.prepare(batch, state.key)
        params, moments = dict(state.params), dict(state.opt_state)
        statistics = state.batch_stats.get(DISCRIMINATOR)
        turns = _Turns(players, params[GENERATOR], batch, accumulate)
        metrics: Metrics = {}
        gradients, updates = {}, {}

        def move(player: str, own: Any) -> None:
            gradients[player] = own
            updates[player], moments[player] = optimizers[player].update(
                own, moments[player], params[player]
            )
            params[player] = optax.apply_updates(params[player], updates[player])

        if DISCRIMINATOR in params:
            own, (told, statistics) = turns.judged(params[DISCRIMINATOR], statistics)
            metrics |= told
            move(DISCRIMINATOR, own)
        own, (told, statistics) = turns.persuaded(params.get(DISCRIMINATOR), statistics)
        metrics |= told
        move(GENERATOR, own)

        for player, own in gradients.items():
            metrics[f"{player}_gradient_norm"] = optax.tree.norm(own)
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["update_norm"] = optax.tree.norm(updates)
        metrics["learning_rate"] = jnp.asarray(schedule(state.step), jnp.float32)
        moving = dict(state.moving)
        if AVERAGE in moving:
            new = {GENERATOR: params[GENERATOR]}
            moving[AVERAGE] = averaged(moving[AVERAGE], new, state.step, average_decay)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            opt_state=moments,
            batch_stats={DISCRIMINATOR: statistics} if DISCRIMINATOR in params else {},
            moving=moving,
        )
        return state, metrics

    return train_step


class _Turns:
    """Gradients of each player's loss for one batch, the generator as it was before the update."""

    def __init__(self, players: Players, generator: Any, batch: Batch, parts: int) -> None:
        self._players, self._generator = players, generator
        self._batch, self._parts = batch, parts
        if parts == 1:
            self._made, self._pull = jax.vjp(lambda own: players.generate(own, batch), generator)

    def judged(self, params: Any, statistics: Any) -> tuple[Any, tuple[Metrics, Any]]:
        """Of the discriminator with `params`."""
        gradient = jax.grad(self._players.judge, has_aux=True)
        if self._parts == 1:
            made = jax.lax.stop_gradient(self._made)
            return gradient(params, statistics, made, self._batch)

        def of(part: Batch) -> tuple[Any, tuple[Metrics, Any]]:
            made = self._players.generate(self._generator, part)
            return gradient(params, statistics, made, part)

        return _mean_of(of, self._batch, self._parts)

    def persuaded(self, params: Any, statistics: Any) -> tuple[Any, tuple[Metrics, Any]]:
        """Of the generator, against the discriminator with `params`."""
        if self._parts == 1:
            slope, told = jax.grad(self._players.persuade, has_aux=True)(
                self._made, params, statistics, self._batch
            )
            return self._pull(slope)[0], told

        def loss(generator: Any, part: Batch) -> Any:
            made = self._players.generate(generator, part)
            return self._players.persuade(made, params, statistics, part)

        def of(part: Batch) -> tuple[Any, tuple[Metrics, Any]]:
            return jax.grad(loss, has_aux=True)(self._generator, part)

        return _mean_of(of, self._batch, self._parts)


def _mean_of(
    of: Callable[[Batch], tuple[Any, tuple[Metrics, Any]]], batch: Batch, parts: int
) -> tuple[Any, tuple[Metrics, Any]]:
    """Gradients and metrics over parts of a batch; the statistics, which are those of any part."""
    cut = in_parts(batch, parts)
    shapes, _ = jax.eval_shape(of, jax.tree.map(lambda array: array[0], cut))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total: Any, part: Batch) -> tuple[Any, Any]:
        gradients, told = of(part)
        return jax.tree.map(jnp.add, total, gradients), told

    total, (metrics, statistics) = jax.lax.scan(add, zeros, cut)
    mean = jax.tree.map(lambda leaf: leaf / parts, total)
    last = jax.tree.map(lambda leaf: leaf[-1], statistics)
    return mean, (jax.tree.map(jnp.mean, metrics), last)
