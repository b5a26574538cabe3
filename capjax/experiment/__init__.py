"""One experiment from its settings to a trained captioner: the wiring under `train.py`."""

from capjax.experiment.memory.updates import Fitting
from capjax.experiment.run import Result, run_experiment

__all__ = ["Fitting", "Result", "run_experiment"]
