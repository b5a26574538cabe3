"""Trains a captioner, or an inpainter, or resumes the run in the workdir.

    python train.py --config=configs/NAME.py [--workdir=DIR] [--config.data.root=DIR]
                    [--config.a.b=value …] [--batch-size=auto] [--memory=GB]

Several devices of one machine are used as they are. On several machines start one process each (or
one a device) with --distributed: Slurm, Open MPI, Kubernetes and TPU pods say who is who; elsewhere
add --coordinator=HOST:PORT --processes=N --process=I.

Exit codes: 0 finished, stopped early, or saved after SIGTERM or Ctrl-C (run the same command to
resume); 1 training diverged (a loss that is not finite), the workdir takes no more (a full disk),
or another process of the run died; 2 wrong usage, data or weights that are missing, a workdir that
another run writes to, or other processes that never came.
"""

import pathlib
import runpy
import sys
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from capjax.runtime.standard_streams import outlive_readers

_CONFIG = config_flags.DEFINE_config_file("config", None, "File of the experiment's settings.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; default: runs/<name of the config>."
)
_BREAK_LOCK = flags.DEFINE_bool(
    "break-lock",
    False,
    "Write to the workdir though a process of another machine locked it: that process is dead.",
)
_BATCH_SIZE = flags.DEFINE_string(
    "batch-size",
    "",
    "auto: compute the gradient of train.batch_size captions in as many parts (train.accumulate) "
    "as it takes to fit into memory by the compiler's account: the same update. A run keeps the "
    "parts that it began with. Without auto an update that does not fit is refused beforehand.",
)
_MEMORY = flags.DEFINE_float(
    "memory",
    None,
    "Gigabytes of each device that an update may take; default: what the device gives out, on a "
    "processor what the machine has free.",
    lower_bound=0.0,
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the other processes of a run on several hosts."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", "", "With --distributed: HOST:PORT of process 0; default: detected."
)
_PROCESSES = flags.DEFINE_integer(
    "processes", 0, "With --distributed: how many there are; default: detected."
)
_PROCESS = flags.DEFINE_integer(
    "process", -1, "With --distributed: number of this one, from 0; default: detected."
)
_PLACE = ("coordinator", "processes", "process")
WRONG_USAGE = 2
STOPPED = 1


def parse(arguments: Sequence[str]) -> list[str]:
    """Parses flags; what does not fit ends the program with one clear line."""
    try:
        rest = flags.FLAGS(list(arguments))
        if len(rest) > 1:
            raise flags.Error(f"unexpected argument {rest[1]!r}; settings are --config.a.b=value")
        if _CONFIG.value is None:
            raise flags.Error("--config is missing, e.g. --config=configs/ucm_soft.py")
        getattr(_CONFIG.value, "data", None)  # a file that did not load says so here
        if _BATCH_SIZE.value not in ("", "auto"):
            raise flags.Error(
                f"--batch-size is {_BATCH_SIZE.value!r}; expected auto. A number is a setting of "
                "training: --config.train.batch_size=…"
            )
        alone = [name for name in _PLACE if flags.FLAGS[name].present and not _DISTRIBUTED.value]
        if alone:
            raise flags.Error(
                f"--{' and --'.join(alone)} say who this process is among others, and it would "
                "train alone: add --distributed, or leave them out"
            )
    except (KeyError, AttributeError) as error:
        sys.exit(_usage(_name_unknown(arguments) or str(error)))
    except (flags.Error, OSError, TypeError, ValueError) as error:
        sys.exit(_usage(str(error)))
    return rest


def _name_unknown(arguments: Sequence[str]) -> str | None:
    """What is wrong with the first flag that names no setting."""
    from capjax.config import unknown_setting

    pairs = [argument.lstrip("-").partition("=") for argument in arguments]
    files = [value for name, _, value in pairs if name == "config" and value]
    if not files:
        return None
    config = runpy.run_path(files[0])["get_config"]()
    overrides = (name.removeprefix("config.") for name, _, _ in pairs if name.startswith("config."))
    return next(filter(None, (unknown_setting(config, name) for name in overrides)), None)


def _usage(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return WRONG_USAGE


def main(arguments: Sequence[str]) -> int:
    """Runs the experiment of the flags."""
    del arguments
    logging.set_verbosity(logging.WARNING)
    name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem

    import jax

    from capjax.runtime.files import check_writable, local_path
    from capjax.runtime.process import keep_freed_memory, keep_programs

    keep_programs()
    keep_freed_memory()
    from capjax.runtime.distributed import Place, join, leave

    try:
        given = f"runs/{name}" if _WORKDIR.value is None else _WORKDIR.value
        workdir = local_path(given, "--workdir")
        check_writable(workdir, "--workdir", folder=True)
        if _DISTRIBUTED.value:
            join(Place(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value))
    except ValueError as error:
        return _usage(str(error))
    code = _train(workdir)
    if code and jax.process_count() > 1:
        leave(code)
    return code


def _train(workdir: pathlib.Path) -> int:
    import jax

    from capjax.config import ExperimentConfig
    from capjax.experiment import Fitting, run_experiment
    from capjax.experiment.inpainting.run import format_restoration, run_inpainting
    from capjax.metrics.card import format_scores
    from capjax.runtime.files import stopped_by_disk
    from capjax.runtime.lost_process import loss
    from capjax.runtime.memory import GIGABYTE
    from capjax.train.checkpoint import SaveError
    from capjax.train.progress import NonFiniteError

    limit = None if _MEMORY.value is None else _MEMORY.value * GIGABYTE
    fitting = Fitting(auto=_BATCH_SIZE.value == "auto", limit=limit)
    captions = isinstance(_CONFIG.value, ExperimentConfig)
    run = run_experiment if captions else run_inpainting
    try:
        result = run(_CONFIG.value, workdir, break_lock=_BREAK_LOCK.value, fitting=fitting)
    except (NonFiniteError, SaveError) as error:
        print(f"error: {error}", file=sys.stderr)
        return STOPPED
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reason = loss(error)
        if reason is None and isinstance(error, FileNotFoundError | ValueError | ImportError):
            return _usage(str(error))
        reason = reason or stopped_by_disk(error)
        if reason is None:
            raise
        print(f"error: {reason}", file=sys.stderr)
        return STOPPED
    if jax.process_index():  # the first one speaks for all
        return 0
    if result.scores is None:
        if result.step:
            print(f"stopped and saved at step {result.step}; run the same command to resume")
        else:
            print("stopped before the first update; run the same command to start again")
        return 0
    print(f"{result.reason} at step {result.step}; best model (step {result.best_step}): {workdir}")
    print((format_scores if captions else format_restoration)(result.scores))
    if captions:
        _print_published(workdir)
    _draw_curves(workdir, captions)
    return 0


def _print_published(workdir: pathlib.Path) -> None:
    from capjax.experiment.table import format_rows, rows_of

    rows = rows_of([workdir])
    if len(rows) > 1:
        print("beside what is published, for other photographs than this validation split's:")
        print(format_rows(rows))


def _draw_curves(workdir: pathlib.Path, captions: bool) -> None:
    from capjax.viz.curves import RESTORATION, SCORES, write_curves

    try:
        write_curves([workdir], workdir / "curves.png", SCORES if captions else RESTORATION)
    except ImportError:
        print(
            'no curves.png: matplotlib is missing; pip install "capjax[viz]", then '
            f"python -m capjax.viz.curves {workdir}"
        )
    else:
        print(f"learning curves: {workdir / 'curves.png'}")


if __name__ == "__main__":
    outlive_readers()
    app.run(main, flags_parser=parse)
