"""The typed settings of one experiment; `configs/` files are written with these names."""

from capjax.config.experiment import (
    CONFIG_FILE,
    EvaluationConfig,
    ExperimentConfig,
    decoder_section,
    encoder_section,
    from_json,
    resolve,
    to_json,
    unknown_setting,
    with_defaults,
)
from capjax.data.settings import DataConfig
from capjax.train.objectives.losses import LossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig
from capjax.train.self_critical import SelfCriticalConfig

__all__ = [
    "CONFIG_FILE",
    "DataConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "LoopConfig",
    "LossConfig",
    "OptimizerConfig",
    "SelfCriticalConfig",
    "decoder_section",
    "encoder_section",
    "from_json",
    "resolve",
    "to_json",
    "unknown_setting",
    "with_defaults",
]
