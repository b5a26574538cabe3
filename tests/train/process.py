"""One process of a toy run of several: `python -m tests.train.process FOLDER PORT COUNT INDEX`.

It dies without a word before update 8, between the evaluation of update 6 and the next checkpoint;
what each update was fed is in FOLDER/ids-INDEX.
"""

import json
import os
import sys
import time
from pathlib import Path

import jax

from capjax.data.batches.pipeline import Share
from capjax.runtime.distributed import Place, from_first, gather_text, join, together
from tests.train.toy import ToyRun, make_batch

DEVICES = 2
DIES_BEFORE, EVALUATES, SAVES = 8, 6, 3


def check_agreement(index: int) -> None:
    """What one process knows or suffers, all do."""
    assert from_first(lambda: {"said": index}, what="speak") == {"said": 0}
    assert gather_text(f"I am {index}") == ["I am 0", "I am 1"]
    try:
        with together("do the work"):
            if index == 1:
                raise OSError("no disk")
    except OSError:
        assert index == 1
    except ValueError as error:
        assert index == 0 and "process 1 of 2 could not do the work: OSError: no disk" in str(error)
    else:
        raise AssertionError("one process failed alone")


def main(folder: Path, port: str, count: int, index: int) -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    join(Place(f"127.0.0.1:{port}", count, index), seconds=60)
    check_agreement(index)
    share = Share(jax.process_index(), jax.process_count())

    def batches(position):
        with (folder / f"ids-{index}").open("a") as lines:
            while True:
                if position + 1 == DIES_BEFORE:
                    while not (folder / "checkpoints" / str(EVALUATES)).is_dir():
                        time.sleep(0.05)
                    os._exit(9)
                batch = {name: share.of(array) for name, array in make_batch(position).items()}
                lines.write(json.dumps([position, batch["id"].tolist()]) + "\n")
                lines.flush()
                yield batch
                position += 1

    run = ToyRun(
        folder,
        devices=DEVICES * count,
        batches=batches,
        checkpoint_every=SAVES,
        evaluate_every=EVALUATES,
    )
    run.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
