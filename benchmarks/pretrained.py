"""Pretrained models against eager torch: same weights, same photographs, same run.

    python benchmarks/pretrained.py [--photographs=FOLDER] [--batch=16] [--rounds=7] [--save]

Needs torch, torchvision and transformers. Seeded random weights: the arithmetic does not depend on
them, and both sides hold the same ones, which their outputs prove before anything is timed.
torchvision runs in inference mode with its maps both as NCHW and as channels_last; the faster
counts. ResNet-50 sees 224 x 224 pixels, EfficientNetV2-S 384 x 384. `vitgpt2_generate` is beam-4
captioning of 8 photographs by ViT-GPT2 against transformers' generate.
"""

from __future__ import annotations

import copy
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from protocol import argument_parser, report, time_in_turn
from safetensors.numpy import save_file

from capjax.captioner import CaptionNet
from capjax.data.pictures.images import load_prepared
from capjax.decoders import LSTM
from capjax.encoders import EfficientNetV2, ResNet, ViT
from capjax.ops import barrier
from capjax.types import Preprocessing
from capjax.weights import load_encoder_weights

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from vitgpt2_generate import BATCH, captioning  # noqa: E402

from tests.golden import efficientnet_outputs  # noqa: E402
from tests.golden.resnet_torchvision import import_torchvision, seeded_state  # noqa: E402

ENCODERS: Mapping[str, nn.Module] = {
    "resnet50": ResNet(depth=50),
    "efficientnet_v2_s": EfficientNetV2(size="s", weights_of="torchvision"),
}
GENERATE = "vitgpt2_generate"
AGREEMENT = 1e-4


def main() -> None:
    """Times each encoder and its two forms in torchvision, in turn."""
    parser = argument_parser(__doc__)
    parser.add_argument("--photographs", help="folder of JPEGs; noise without one")
    parser.add_argument("--batch", type=int, default=16, help="images a call")
    cases = [*ENCODERS, GENERATE]
    parser.add_argument("--only", choices=sorted(cases), help="one of the models")
    arguments = parser.parse_args()
    import torch

    # As many as jax's own pool: the cores of this process.
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    ratios, figures = {}, {}
    for name in [arguments.only] if arguments.only else cases:
        encoder: Any = ENCODERS.get(name, ViT())
        batch = BATCH if name == GENERATE else arguments.batch
        pixels = photographs(arguments.photographs, batch, encoder.preprocessing())
        if name == GENERATE:
            candidates = captioning(pixels)
        else:
            candidates = forward_passes(name, encoder, pixels)
        seconds = time_in_turn(candidates, rounds=arguments.rounds)
        peer = min(value for form, value in seconds.items() if form != "capjax")
        ratios[name] = peer / seconds["capjax"]
        for form, value in seconds.items():
            figures[f"{name}_{form}_images_per_s"] = batch / value
    report("pretrained", ratios=ratios, figures=figures, save=arguments.save)


def photographs(folder: str | None, count: int, preprocessing: Preprocessing) -> np.ndarray:
    """Normalised images [count H W 3]: the first photographs of a folder, or noise."""
    if folder is None:
        shape = (count, *preprocessing.size, 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape)
    else:
        paths = sorted(pathlib.Path(folder).glob("*.jpg"))[:count]
        if len(paths) < count:
            sys.exit(f"{folder} holds {len(paths)} .jpg files; {count} are needed")
        pixels = np.stack([load_prepared(path, preprocessing)[0] for path in paths])
    scaled = (pixels - np.float32(preprocessing.mean)) / np.float32(preprocessing.std)
    return scaled.astype(np.float32)


def forward_passes(
    name: str, encoder: nn.Module, images: np.ndarray
) -> dict[str, Callable[[], Any]]:
    """The encoder and torchvision's, as functions without arguments that agree on the features."""
    import torch

    model = getattr(import_torchvision().models, name)(weights=None).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state = (efficientnet_outputs.state_of if "efficient" in name else seeded_state)(shapes)
    state = {key: np.ascontiguousarray(value) for key, value in state.items()}
    model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    with tempfile.TemporaryDirectory() as folder:
        save_file(state, f"{folder}/model.safetensors")
        variables = load_encoder_weights(encoder, f"{folder}/model.safetensors")
    net = CaptionNet(encoder, LSTM(vocab_size=8, features=2048), (0.0,) * 3, (1.0,) * 3)
    held = {name: {"encoder": jax.tree.map(jnp.asarray, v)} for name, v in variables.items()}
    pixels = jnp.asarray(images)
    compiled = barrier.jit(lambda v, x: net.apply(v, x, method="encode").positions)

    # Maps alone: neither side pools or classifies.
    body = model.features if hasattr(model, "features") else _resnet_body(model)
    channels_last = copy.deepcopy(body).to(memory_format=torch.channels_last)
    rows = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    interleaved = rows.contiguous(memory_format=torch.channels_last)

    def run(module: Any, x: Any) -> Any:
        with torch.inference_mode():
            return module(x)

    candidates = {
        "capjax": lambda: compiled(held, pixels),
        "torchvision": lambda: run(body, rows),
        "torchvision_channels_last": lambda: run(channels_last, interleaved),
    }
    ours = np.asarray(candidates["capjax"]())
    for form in ("torchvision", "torchvision_channels_last"):
        theirs = candidates[form]().numpy().transpose(0, 2, 3, 1).reshape(ours.shape)
        error = np.abs(ours - theirs).max() / np.abs(theirs).max()
        if not error <= AGREEMENT:
            sys.exit(f"{name}: capjax and {form} differ by {error:.1e} of the largest feature")
    return candidates


def _resnet_body(model: Any) -> Any:
    import torch

    return torch.nn.Sequential(*list(model.children())[:-2])


if __name__ == "__main__":
    main()
