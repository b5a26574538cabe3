"""Runs train.py and notes which captions every update learnt from.

    python tests/faults/traced.py FILE -- ARGUMENTS OF train.py

Each process appends to FILE-<process>: one JSON line an update, in the order of its batch.
"""

import json
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    file, separator, *arguments = sys.argv[1:]
    if separator != "--":
        sys.exit("usage: traced.py FILE -- ARGUMENTS")
    sys.path.insert(0, str(ROOT))
    from capjax.experiment import building

    load = building.training_batches

    def traced(*positional, start, share, **settings):
        batches = load(*positional, start=start, share=share, **settings)
        with open(f"{file}-{share.index}", "a", buffering=1) as lines:
            for step, batch in enumerate(batches, start=start + 1):
                noted = {name: batch[name].tolist() for name in ("id", "replaced")}
                line = {"step": step, "process": share.index, "of": share.count, **noted}
                lines.write(json.dumps(line) + "\n")
                yield batch

    building.training_batches = traced
    sys.argv = [str(ROOT / "train.py"), *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
