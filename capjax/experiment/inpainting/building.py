"""All parts of an experiment that trains an inpainter, built from its settings."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax import rng
from capjax.config.inpainting import InpaintingConfig, build_players
from capjax.data.batches.loading import Loading
from capjax.data.batches.pipeline import Share
from capjax.data.batches.unreadable import RequiredInputs
from capjax.data.inpainting.batches import part_batches
from capjax.data.inpainting.examples import PictureSplits
from capjax.experiment.inpainting.scoring import RestorationScorer
from capjax.experiment.processes import place_first_state
from capjax.experiment.unreadable import UnreadableImages
from capjax.inpaint.discriminator import SPECTRAL
from capjax.inpaint.training.players import Inpainting
from capjax.ops.devices import placed_shapes
from capjax.train import optimizer as optimizers
from capjax.train import sharding
from capjax.train.adversarial.players import DISCRIMINATOR, GENERATOR
from capjax.train.adversarial.step import (
    Optimizers,
    create_players_state,
    make_players_step,
)
from capjax.train.loop import Batches
from capjax.train.plan import Plan
from capjax.train.profiling import check_span
from capjax.train.state import TrainState
from capjax.train.step import StepFunction, compile_step


@dataclasses.dataclass(frozen=True)
class InpaintingExperiment:
    """All parts of an experiment, built from its settings; nothing trained yet.

    Attributes:
      config: resolved settings.
      players: both nets, and what they learn.
      splits: pictures.
      unreadable: those of the training pictures that cannot be decoded.
      scorer: of validation pictures.
      mesh: devices.
      start: weights that the generator starts from; None: random ones.
      judge: variables that the discriminator starts from; None: random ones.
    """

    config: InpaintingConfig
    players: Inpainting
    splits: PictureSplits
    unreadable: UnreadableImages
    scorer: RestorationScorer
    mesh: jax.sharding.Mesh
    start: Mapping[str, Any] | None = None
    judge: Mapping[str, Any] | None = None

    @property
    def plan(self) -> Plan:
        """When the loop does what."""
        config = self.config
        per_epoch = -(-len(self.splits.train) // config.train.batch_size)
        return Plan(
            steps=config.train.steps or config.train.epochs * per_epoch,
            steps_per_epoch=per_epoch,
            evaluate_every=config.evaluation.every or per_epoch,
            metric=config.evaluation.metric,
            patience=config.evaluation.patience,
        )

    @property
    def holes(self) -> Mapping[str, Any] | str:
        """What holes are, for cards."""
        return "objects of scenes" if self.splits.train.holes else vars(self.config.holes)

    def initial_state(self) -> TrainState:
        """The state before the first update, on all devices."""
        state = self._first_state()
        return place_first_state(state, state.params, self.mesh)

    def state_shapes(self) -> TrainState:
        """Shapes of `initial_state`, and where its arrays are."""
        return placed_shapes(jax.eval_shape(self._first_state), sharding.replicated(self.mesh))

    def _first_state(self) -> TrainState:
        key = jax.random.key(self.config.seed)
        params, statistics = self.players.init(rng.stream(key, "model"), self.config.data.side)
        if self.start is not None:
            params[GENERATOR] = jax.tree.map(jnp.asarray, dict(self.start))
        if self.judge is not None:
            params[DISCRIMINATOR] = self.judge["params"]
            statistics[DISCRIMINATOR] = self.judge[SPECTRAL]
        return create_players_state(
            params,
            statistics,
            self._optimizers,
            key=key,
            average=bool(self.config.optimizer.average_decay),
        )

    def batches(self) -> Batches:
        """The stream of training batches, as a function of the position."""
        config = self.config

        def stream(position: int) -> Any:
            batches = part_batches(
                self.splits.train.parts,
                len(self.splits.train),
                batch_size=config.train.batch_size,
                seed=config.seed,
                start=position,
                share=Share(jax.process_index(), jax.process_count()),
                loading=Loading(workers=config.data.workers),
            )
            return self.unreadable.watch(batches, position)

        return stream

    def train_step(self) -> StepFunction:
        """The compiled update; the same one at every call."""
        return self._step

    @functools.cached_property
    def _optimizers(self) -> Optimizers:
        own = {GENERATOR: self.config.optimizer}
        if self.players.adversarial:
            own[DISCRIMINATOR] = self.config.discriminator_optimizer
        steps = self.plan.steps
        return {
            player: optimizers.make_sole_optimizer(config, steps) for player, config in own.items()
        }

    @functools.cached_property
    def _step(self) -> StepFunction:
        config = self.config.optimizer
        step = make_players_step(
            self.players,
            self._optimizers,
            schedule=optimizers.make_schedule(config, config.learning_rate, self.plan.steps),
            accumulate=self.config.train.accumulate,
            average_decay=config.average_decay,
        )
        return compile_step(step, self.mesh)


def build_inpainting(
    config: InpaintingConfig,
    splits: PictureSplits,
    start: Mapping[str, Any] | None = None,
    judge: Mapping[str, Any] | None = None,
) -> InpaintingExperiment:
    """Builds the nets and what goes with them.

    Args:
      config: resolved settings.
      splits: pictures.
      start: weights of a generator of the same architecture, to start from.
      judge: variables of a discriminator of the same architecture, to start from.

    Raises:
      ValueError: a batch that does not divide over the devices.
    """
    mesh = sharding.data_mesh()
    sharding.check_batch_size(config.train.batch_size, mesh)
    players = build_players(config)
    # The budget is of one device; a traced batch is that of all.
    generator = players.generator
    players = dataclasses.replace(
        players, generator=generator.clone(budget=mesh.size * generator.budget)
    )
    train, validation = splits.train, splits.validation
    names = [record.key for record in train.records]
    experiment = InpaintingExperiment(
        config=config,
        players=players,
        splits=splits,
        unreadable=UnreadableImages(
            train.parts, np.arange(len(train)), names, share=config.data.unreadable_share
        ),
        scorer=RestorationScorer(
            players=players,
            inputs=RequiredInputs(validation.parts),
            count=len(validation),
            batch_size=config.evaluation.batch_size,
            mesh=mesh,
            loading=Loading(workers=config.data.workers),
        ),
        mesh=mesh,
        start=start,
        judge=judge,
    )
    check_span(config.profile, experiment.plan.steps)
    return experiment
