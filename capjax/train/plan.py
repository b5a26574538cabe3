"""How long a run is and when it saves, evaluates and stops."""

import dataclasses


@dataclasses.dataclass
class LoopConfig:
    """How long a run is and what it leaves behind.

    Attributes:
      batch_size: captions an update, over all devices and processes.
      accumulate: parts in which the gradient of a batch is computed, one after the other: the same
        update with less memory.
      remat: keep only what passes between the blocks of a trained encoder, and compute the rest
        again in the backward pass: about half the memory for one more forward pass.
      epochs: passes over the training captions; 0: nothing is learnt, and the captioner that the
        run starts from is scored.
      steps: updates; 0: as many as `epochs` take.
      checkpoint_every: updates between checkpoints; one is also saved at every evaluation.
      keep: how many of the latest checkpoints stay.
      log_every: updates whose losses are fetched from the device at once.
      progress: show a progress bar.
      peak_teraflops: peak rate of matrix products of one device, in 1e12 operations a second; the
        utilisation (MFU) in the log is a share of it. 0: the 16-bit rate on the data sheet of known
        accelerators (`capjax.train.arithmetic`), and no MFU on others.
    """

    batch_size: int = 64
    accumulate: int = 1
    remat: bool = False
    epochs: int = 20
    steps: int = 0
    checkpoint_every: int = 500
    keep: int = 2
    log_every: int = 10
    progress: bool = True
    peak_teraflops: float = 0.0

    def check(self) -> None:
        """Raises ValueError for a value that has no meaning."""
        for name in (
            *("batch_size", "accumulate"),
            *("checkpoint_every", "keep", "log_every"),
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; expected 1 or more")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"train.batch_size is {self.batch_size}, which train.accumulate="
                f"{self.accumulate} does not divide; choose a divisor"
            )
        if self.peak_teraflops < 0:
            raise ValueError(f"train.peak_teraflops is {self.peak_teraflops}; expected 0 or more")
        for name in ("epochs", "steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"train.{name} is {getattr(self, name)}; expected 0 or more")


@dataclasses.dataclass(frozen=True)
class Plan:
    """When things happen, in updates.

    Attributes:
      steps: length of the run.
      steps_per_epoch: for the logs.
      evaluate_every: updates between evaluations; the last step is always evaluated.
      metric: name of the validation score to maximise.
      patience: evaluations without a new best before the run stops, 0 for no limit.
    """

    steps: int
    steps_per_epoch: int
    evaluate_every: int
    metric: str
    patience: int = 0

    def evaluates(self, step: int) -> bool:
        """Whether `step` is followed by an evaluation."""
        return step > 0 and (step % self.evaluate_every == 0 or step == self.steps)
