"""Small files as torch.save writes them, for tests/weights/test_torch_files.py.

    python tests/golden/torch_files.py      # writes torch_zip.pth and torch_legacy.pth

Every type, strides, offsets, shared storages, a scalar, an empty tensor, parameters, a batch norm's
counter, the attribute `_metadata`, inside a training checkpoint with an optimizer's state. The
numbers are formulas, so that both sides know them. Made with torch 2.13.
"""

from collections import OrderedDict
from pathlib import Path

import ml_dtypes
import numpy as np

FOLDER = Path(__file__).parent
ZIP = FOLDER / "torch_zip.pth"
LEGACY = FOLDER / "torch_legacy.pth"
DTYPES = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint8": np.uint8,
}


def numbers(dtype: type) -> np.ndarray:
    """[4 6], exact in every type."""
    values = np.arange(24).reshape(4, 6)
    if np.dtype(dtype).kind not in "iu":
        values = values / 4 - 2
    return values.astype(dtype)


def expected() -> dict[str, np.ndarray]:
    """What both files hold."""
    base = numbers(np.float32)
    return {
        **{name: numbers(dtype) for name, dtype in DTYPES.items()},
        "bool": base > 1,
        "base": base,
        "transposed": base.T,
        "part": base[1:3, ::2],
        "column": base[:, 5],
        "expanded": np.broadcast_to(base[:1, 0], (3,)),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "parameter": base[0] + 100,
        "norm.num_batches_tracked": np.array(7, np.int64),
    }


def main() -> None:
    """Writes both files."""
    import torch

    base = torch.from_numpy(numbers(np.float32))
    state = OrderedDict()
    for name in DTYPES:
        exact = np.float32 if name == "bfloat16" else DTYPES[name]
        state[name] = torch.from_numpy(numbers(exact)).to(getattr(torch, name))
    state["bool"] = base > 1
    state["base"] = base
    state["transposed"] = base.t()
    state["part"] = base[1:3, ::2]
    state["column"] = base[:, 5]
    state["expanded"] = base[:1, 0].expand(3)
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 3)
    state["parameter"] = torch.nn.Parameter(base[0] + 100)
    state["norm.num_batches_tracked"] = torch.tensor(7)
    state._metadata = OrderedDict({"": {"version": 1}})
    moments = {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(6)}}
    optimizer = {"state": moments, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}]}
    checkpoint = {"epoch": 3, "state_dict": state, "optimizer": optimizer, "best": None}
    torch.save(checkpoint, ZIP)
    torch.save(checkpoint, LEGACY, _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
