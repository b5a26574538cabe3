"""Optimisers, schedules, clipping: optax, put together from one settings object."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

OPTIMIZERS = ("adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "cosine", "step")


@dataclasses.dataclass
class OptimizerConfig:
    """How parameters are updated.

    Attributes:
      name: "adam", "adamw" (decoupled weight decay) or "rmsprop" (Graves 2013, with momentum: the
        centred form that Show, Attend and Tell's released code uses).
      learning_rate: peak rate of the decoder.
      encoder_learning_rate: peak rate of the encoder; 0 freezes it, without optimiser state.
      encoder_start: updates before the encoder's first one. Until then only its parameters stand
        still: its moments are gathered and, where norms use the batch (`freeze_norm=False`, the
        ConvNet), its running statistics too.
      schedule: after the warm-up, "constant", "cosine" to 0 at the last step, or "step": times
        `decay_rate` every `decay_steps` updates.
      warmup_steps: updates of linear warm-up from 0.
      decay_rate, decay_steps: of the "step" schedule.
      clip_norm: largest global norm of the gradient, 0 for no limit.
      clip_value: largest absolute value of a gradient's element, 0 for no limit.
      weight_decay: of "adamw", on matrices only: biases and other vectors are left alone.
      b1, b2, eps: moments of Adam.
      average_decay: of the moving average of all trained parameters, which is evaluated and kept
        instead of them (0.999 or so); 0: none.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    encoder_learning_rate: float = 0.0
    encoder_start: int = 0
    schedule: str = "cosine"
    warmup_steps: int = 0
    decay_rate: float = 0.8
    decay_steps: int = 10_000
    clip_norm: float = 0.0
    clip_value: float = 0.0
    weight_decay: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    average_decay: float = 0.0

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Raises ValueError for a value that has no meaning."""
        if self.name not in OPTIMIZERS:
            raise ValueError(
                f"unknown optimizer.name {self.name!r}; choose one of: {', '.join(OPTIMIZERS)}"
            )
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"unknown optimizer.schedule {self.schedule!r}; "
                f"choose one of: {', '.join(SCHEDULES)}"
            )
        if self.weight_decay and self.name != "adamw":
            raise ValueError(
                f"optimizer.weight_decay={self.weight_decay} has no effect with "
                f"optimizer.name={self.name!r}; use 'adamw' or set it to 0"
            )
        if self.clip_norm and self.clip_value:
            raise ValueError(
                f"got both optimizer.clip_norm={self.clip_norm} and "
                f"optimizer.clip_value={self.clip_value}; set one of them to 0"
            )
        if not 0.0 <= self.average_decay < 1.0:
            raise ValueError(
                f"optimizer.average_decay is {self.average_decay}; expected 0, or below 1"
            )
        if self.encoder_start < 0:
            raise ValueError(f"optimizer.encoder_start is {self.encoder_start}; expected 0 or more")
        if self.encoder_start and not self.encoder_learning_rate:
            raise ValueError(
                f"optimizer.encoder_start={self.encoder_start} has no effect on a frozen encoder; "
                "set optimizer.encoder_learning_rate, or it to 0"
            )
        if self.learning_rate <= 0.0 or self.encoder_learning_rate < 0.0:
            raise ValueError(
                f"got optimizer.learning_rate={self.learning_rate} and "
                f"optimizer.encoder_learning_rate={self.encoder_learning_rate}; expected a "
                "positive rate, and 0 or a positive rate for the encoder"
            )


def make_schedule(config: OptimizerConfig, peak: float, steps: int) -> optax.Schedule:
    """Learning rate as a function of the number of updates done, over `steps` in all."""
    after = max(1, steps - config.warmup_steps)
    if config.schedule == "cosine":
        main = optax.cosine_decay_schedule(peak, after)
    elif config.schedule == "step":
        main = optax.exponential_decay(peak, config.decay_steps, config.decay_rate, staircase=True)
    else:
        main = optax.constant_schedule(peak)
    if not config.warmup_steps:
        return main
    warmup = optax.linear_schedule(0.0, peak, config.warmup_steps)
    return optax.join_schedules([warmup, main], [config.warmup_steps])


def _from(start: int, schedule: optax.Schedule) -> optax.Schedule:
    """`schedule`, but 0 before update `start`."""

    def rate(count: Any) -> Any:
        return jnp.where(count < start, 0.0, schedule(count))

    return rate if start else schedule


def is_matrix(params: Any) -> Any:
    """True for arrays of two axes or more: those that weight decay acts on."""
    return jax.tree.map(lambda array: jnp.ndim(array) >= 2, params)


def _update_rule(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    if config.name == "rmsprop":
        return optax.rmsprop(
            schedule, decay=0.95, eps=1e-4, centered=True, momentum=0.9, eps_in_sqrt=True
        )
    if config.name == "adamw":
        return optax.adamw(
            schedule,
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=is_matrix,
        )
    return optax.adam(schedule, b1=config.b1, b2=config.b2, eps=config.eps)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The transformation of the gradients of `{"decoder": …}` and, if trained, `"encoder"`.

    Clipping sees encoder and decoder together; each then has its own learning rate.

    Args:
      config: settings.
      steps: updates of the whole run, for the schedule.
    """
    rules = {"decoder": _update_rule(config, make_schedule(config, config.learning_rate, steps))}
    if config.encoder_learning_rate:
        rate = make_schedule(config, config.encoder_learning_rate, steps)
        rules["encoder"] = _update_rule(config, _from(config.encoder_start, rate))

    def label(params: Any) -> Any:
        return {name: jax.tree.map(lambda _, own=name: own, tree) for name, tree in params.items()}

    return _clipped(config, optax.partition(rules, label))


def make_sole_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The transformation of the gradients of any tree, all at `config.learning_rate`.

    Args:
      config: settings; those of an encoder are not read.
      steps: updates of the whole run, for the schedule.
    """
    rate = make_schedule(config, config.learning_rate, steps)
    return _clipped(config, _update_rule(config, rate))


def _clipped(
    config: OptimizerConfig, rule: optax.GradientTransformation
) -> optax.GradientTransformation:
    parts = [rule]
    if config.clip_norm:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    if config.clip_value:
        parts.insert(0, optax.clip(config.clip_value))
    return optax.chain(*parts)
