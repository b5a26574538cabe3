"""All parts of an experiment, built from its settings."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from capjax import rng
from capjax.captioner import Captioner
from capjax.config import ExperimentConfig
from capjax.data.batches.pipeline import CaptionSamples, Inputs, Loading, Share, training_batches
from capjax.data.object_cells import ObjectCells
from capjax.decoding import Greedy, Sample, generate, never_written
from capjax.decoding.rules import beam_search
from capjax.experiment.clip_loss import ClipLoss, load_clip_loss
from capjax.experiment.data import Split, unknown_words
from capjax.experiment.grounding import object_cells, shown_classes
from capjax.experiment.material import Material, read_material
from capjax.experiment.model import Model, build_model, make_inputs, with_frequency_bias
from capjax.experiment.processes import place_first_state
from capjax.experiment.rewards import build_reward
from capjax.experiment.scoring import Scorer
from capjax.experiment.starting import started_from
from capjax.experiment.unreadable import UnreadableImages
from capjax.explainers.language.others import chosen_others, coarse, with_others
from capjax.metrics.similarity import CaptionSimilarity, load_clip
from capjax.ops.devices import placed_shapes
from capjax.text.protocol import Text
from capjax.train import optimizer as optimizers
from capjax.train import sharding
from capjax.train.loop import Batches
from capjax.train.objectives.objective import batch_features
from capjax.train.plan import Plan
from capjax.train.profiling import check_span
from capjax.train.self_critical import Draw, Reward, make_self_critical_step
from capjax.train.state import TrainState, create_state
from capjax.train.step import StepFunction, compile_step, make_train_step
from capjax.types import Features


@dataclasses.dataclass(frozen=True)
class Experiment:
    """All parts of an experiment, built from its settings; nothing trained yet.

    Attributes:
      config: resolved settings.
      source: the captioner it starts from; None for random weights.
      text: words, of the source or of the training captions.
      model: net and first weights.
      samples: captions to learn from.
      inputs: of the training images.
      unreadable: those of them that cannot be decoded.
      scorer: of validation captions.
      mesh: devices.
      reward: of captions, in the stage of rewards; None in others.
      clip_loss: of `loss.clip_text`; None where it is empty.
      cells: of `loss.lambda_supervised`, where words should look; None where it is 0.
      origin: what the captions were read from, for the card.
      notes: sentences to tell before the run begins.
      names: of the training images, in the order of `inputs`.
    """

    config: ExperimentConfig
    source: Captioner | None
    text: Text
    model: Model
    samples: CaptionSamples
    inputs: Inputs
    unreadable: UnreadableImages
    scorer: Scorer
    mesh: jax.sharding.Mesh
    reward: Reward | None = None
    clip_loss: ClipLoss | None = None
    cells: ObjectCells | None = None
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def plan(self) -> Plan:
        """When the loop does what."""
        config = self.config
        per_epoch, steps = _updates(config, self.samples)
        return Plan(
            steps=steps,
            steps_per_epoch=per_epoch,
            evaluate_every=config.evaluation.every or per_epoch,
            metric=config.evaluation.metric,
            patience=config.evaluation.patience,
        )

    def initial_state(self) -> TrainState:
        """The state before the first update, on all devices."""
        return place_first_state(self._first_state(), self.model.variables, self.mesh)

    def state_shapes(self) -> TrainState:
        """Shapes of `initial_state`, and where its arrays are."""
        return placed_shapes(jax.eval_shape(self._first_state), sharding.replicated(self.mesh))

    def _first_state(self) -> TrainState:
        return create_state(
            self.model.variables,
            optimizers.make_optimizer(self.config.optimizer, self.plan.steps),
            train_encoder=bool(self.config.optimizer.encoder_learning_rate),
            key=jax.random.key(self.config.seed),
            average=bool(self.config.optimizer.average_decay),
            baseline=getattr(self.model.net.decoder, "hard", False),
            clip=None if self.clip_loss is None else self.clip_loss.arrays,
        )

    def batches(self) -> Batches:
        """The stream of training batches, as a function of the position."""
        config = self.config

        def stream(position: int) -> Any:
            batches = training_batches(
                self.samples,
                self.inputs,
                batch_size=config.train.batch_size,
                seed=config.seed,
                start=position,
                share=Share(jax.process_index(), jax.process_count()),
                loading=Loading(workers=config.data.workers),
                group_by_length=config.data.group_by_length,
                pad=self.text.pad,
                by_word=self.cells,
            )
            return self.unreadable.watch(batches, position)

        return stream

    def train_step(self) -> StepFunction:
        """The compiled update; the same one at every call."""
        return self._step

    @functools.cached_property
    def _step(self) -> StepFunction:
        config = self.config.optimizer
        steps = self.plan.steps
        if self.reward is not None:
            return self._self_critical_step(self.reward)
        step = make_train_step(
            self.model.net,
            optimizers.make_optimizer(config, steps),
            self.config.loss,
            schedule=optimizers.make_schedule(config, config.learning_rate, steps),
            grid=self.model.grid,
            accumulate=self.config.train.accumulate,
            remat=self.config.train.remat,
            average_decay=config.average_decay,
            similarity=None if self.clip_loss is None else self.clip_loss.loss,
        )
        return compile_step(step, self.mesh)

    def _self_critical_step(self, reward: Reward) -> StepFunction:
        config = self.config.optimizer
        stage = self.config.self_critical
        return make_self_critical_step(
            self.model.net,
            optimizers.make_optimizer(config, self.plan.steps),
            stage,
            draw=self._drawing(Sample(count=stage.samples)),
            greedy=self._drawing(Greedy()),
            reward=reward,
            reduce=self.config.loss.reduce,
            suppress=never_written(self.text),
            schedule=optimizers.make_schedule(config, config.learning_rate, self.plan.steps),
            grid=self.model.grid,
            mesh=self.mesh,
            accumulate=self.config.train.accumulate,
            average_decay=config.average_decay,
        )

    def _drawing(self, method: Sample | Greedy) -> Draw:
        def draw(variables: Any, features: Features, keys: Key[Array, " B"]) -> Any:
            found = generate(
                self.model.net,
                variables,
                features,
                method,
                eos=self.text.eos,
                max_len=self.config.data.max_length,
                suppress=never_written(self.text),
                keys=keys,
            )
            return found.tokens, found.lengths

        return draw

    def captioner(self, variables: Mapping[str, Any], card: Mapping[str, Any]) -> Captioner:
        """The captioner of some variables of the net, on the host, with what it compares with."""
        captioner = Captioner(
            self.model.net,
            jax.tree.map(np.asarray, dict(variables)),
            self.text,
            self.model.preprocessing,
            card,
        )
        batch = self._others
        if "image" in batch:  # its encoder may have learnt since
            return with_others(captioner, batch["image"])
        if "features" in batch:
            seen = batch_features(captioner.net, captioner.variables, batch, self.model.grid)
            return dataclasses.replace(captioner, others=coarse(seen))
        return captioner

    @functools.cached_property
    def _others(self) -> Mapping[str, Any]:
        """`evaluation.others` training images or their features; empty where they are too few."""
        count = self.config.evaluation.others
        if not count:
            return {}
        found = chosen_others(
            self.names, lambda number: self.inputs(np.array([number])), count=count
        )
        if len(found) < 2:
            return {}
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}


def build_experiment(
    config: ExperimentConfig, cache: pathlib.Path, material: Material | None = None
) -> Experiment:
    """Builds the net, and computes features of a frozen encoder where cached.

    Args:
      config: resolved settings.
      cache: folder of feature caches.
      material: what is learnt from; read here unless given.
    """
    mesh = sharding.data_mesh()
    sharding.check_batch_size(config.train.batch_size, mesh)
    material = material or read_material(config)
    train, validation = material.splits
    source, text = material.source, material.text
    model = build_model(config, text, rng.stream(jax.random.key(config.seed), "model"))
    samples = CaptionSamples.build(train.captions, text, max_length=config.data.max_length)
    if source is not None:
        model = started_from(model, source)
    elif config.data.frequency_bias:
        model = with_frequency_bias(model, samples.tokens)
    # Before features are computed, which may take hours: these may find that files are missing.
    check_span(config.profile, _updates(config, samples)[1])
    shown = shown_classes(config, train)
    reward = build_reward(config.self_critical, train.captions, samples, text, shown)
    clip_loss = load_clip_loss(config.loss.clip_text, text, samples)
    similarity = _similarity(config.evaluation.clip_text, validation)
    cells = object_cells(config, train, model, text, samples)
    inputs, validation_inputs = make_inputs(config, model, (train, validation), cache)
    names = tuple(record.key for record in train.records)
    return Experiment(
        config=config,
        source=source,
        text=text,
        model=model,
        samples=samples,
        inputs=inputs,
        unreadable=UnreadableImages(
            inputs,
            samples.image,
            names,
            share=config.data.unreadable_share,
        ),
        scorer=_scorer(config, model, text, validation, validation_inputs, mesh, similarity),
        mesh=mesh,
        reward=reward,
        clip_loss=clip_loss,
        cells=cells,
        origin=train.origin,
        notes=(*train.notes, *unknown_words(config, text, samples)),
        names=names,
    )


def _updates(config: ExperimentConfig, samples: CaptionSamples) -> tuple[int, int]:
    """Updates of an epoch and of the whole run."""
    per_epoch = -(-len(samples) // config.train.batch_size)
    return per_epoch, config.train.steps or config.train.epochs * per_epoch


def _similarity(clip: str, validation: Split) -> CaptionSimilarity | None:
    """The score "CLIP-text" by the CLIP of `evaluation.clip_text`; None where it is empty."""
    if not clip:
        return None
    return CaptionSimilarity(load_clip(clip, "evaluation.clip_text"), validation.captions)


def _scorer(
    config: ExperimentConfig,
    model: Model,
    text: Text,
    validation: Split,
    inputs: Inputs,
    mesh: jax.sharding.Mesh,
    similarity: CaptionSimilarity | None,
) -> Scorer:
    return Scorer(
        net=model.net,
        text=text,
        grid=model.grid,
        inputs=inputs,
        references=validation.captions,
        method=beam_search(
            config.evaluation.search, config.evaluation.beam, config.evaluation.length_penalty
        ),
        max_len=config.data.max_length,
        batch_size=config.evaluation.batch_size,
        mesh=mesh,
        loading=Loading(workers=config.data.workers),
        similarity=similarity,
    )
