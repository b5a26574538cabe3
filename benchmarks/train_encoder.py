"""Captions a second of training with a ResNet: frozen, fine-tuned and from cached features.

    python benchmarks/train_encoder.py [--batch=64] [--depth=101] [--side=224] [--grid=14]
        [--rounds=5] [--eager] [--peak-teraflops=…] [--save]

One update of `capjax.train` (forward, loss, gradients, Adam) of the soft-attention decoder of
`train_step.py`, 20 tokens a caption and 10,000 words, behind the encoder. Images and features lie
on the device already: `input_pipeline.py` is about how they get there. Products are bfloat16 on an
accelerator and float32 on a processor, on both sides. The peer (`torch_encoder.py`) has the same
weights and must report the same losses; it is tried eager and compiled (not with `--eager`), and
the faster one counts:

    frozen, fine_tuned, cached         seconds of the PyTorch step / seconds of capjax

MFU counts the same products and convolutions for both sides, by `capjax.train.arithmetic`; it needs
a device whose peak is known, or `--peak-teraflops`. Extra `parity`. On a processor
`--depth=18 --batch=2 --side=64 --grid=2 --rounds=1 --eager` shows that it works.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory too

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_encoder
from protocol import argument_parser, report, time_in_turn
from train_step import SIZE, TOKENS, VOCABULARY

from capjax.captioner import CaptionNet, build_net
from capjax.decoders import AttentionLSTM
from capjax.encoders import ResNet
from capjax.train import optimizer as optimizers
from capjax.train import sharding
from capjax.train.arithmetic import count_flops, peak_flops
from capjax.train.objectives.losses import LossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.state import create_state
from capjax.train.step import compile_step, make_train_step
from capjax.weights.encoders import fit_weights

MODES = ("frozen", "fine_tuned", "cached")
LEARNING_RATE = 1e-4
STEPS = 1000  # of the schedule, which is constant

Step = Callable[[], float]


def make_net(flags: argparse.Namespace) -> CaptionNet:
    """The captioner, not initialised."""
    dtype = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    native = (flags.side // 32,) * 2
    grid = (flags.grid, flags.grid)
    encoder = ResNet(flags.depth, pool=None if grid == native else grid, dtype=dtype)
    depth = 512 if flags.depth < 50 else 2048
    decoder = AttentionLSTM(
        VOCABULARY, depth, hidden=SIZE, attention=SIZE, embedding=SIZE, dtype=dtype
    )
    return build_net(encoder, decoder, encoder.preprocessing((flags.side, flags.side)))


def make_variables(net: CaptionNet, resnet: torch.nn.Module, images: np.ndarray) -> dict:
    """Of the net, its encoder's those of torchvision."""
    variables = jax.jit(net.init)(jax.random.key(0), images[:1], jnp.zeros((1, 1), jnp.int32))
    source = {name: value.detach().numpy() for name, value in resnet.state_dict().items()}
    example = jnp.zeros((1, *images.shape[1:]), jnp.float32)
    for kind, arrays in fit_weights(net.encoder, source, example, origin="torchvision").items():
        variables[kind] = {**variables[kind], "encoder": jax.tree.map(jnp.asarray, arrays)}
    return variables


def make_batch(flags: argparse.Namespace, depth: int) -> dict[str, np.ndarray]:
    """Images, features and whole captions; equal in every call."""
    draw = np.random.default_rng(0)
    count = flags.batch
    maps = np.maximum(draw.normal(size=(count, 1, flags.grid**2, depth)), 0.0)
    return {
        "image": draw.integers(0, 256, (count, flags.side, flags.side, 3)).astype(np.uint8),
        "features": maps.astype(np.float16),
        "tokens": draw.integers(0, VOCABULARY, (count, TOKENS)).astype(np.int32),
        "lengths": np.full(count, TOKENS, np.int32),
        "id": np.arange(count, dtype=np.int32),
    }


def capjax_step(
    net: CaptionNet, variables: dict, batch: dict[str, np.ndarray], mode: str, grid: int
) -> tuple[Step, float]:
    """A function that does one more update and returns the loss before it, and its operations."""
    config = OptimizerConfig(
        learning_rate=LEARNING_RATE,
        encoder_learning_rate=LEARNING_RATE if mode == "fine_tuned" else 0.0,
        schedule="constant",
    )
    optimizer = optimizers.make_optimizer(config, STEPS)
    mesh = sharding.data_mesh(jax.devices()[:1])  # the peer takes one
    update = compile_step(
        make_train_step(
            net,
            optimizer,
            LossConfig(doubly_stochastic=0.0),
            schedule=optimizers.make_schedule(config, LEARNING_RATE, STEPS),
            grid=(grid, grid),
        ),
        mesh,
    )
    state = create_state(
        jax.tree.map(jnp.copy, variables),
        optimizer,
        train_encoder=mode == "fine_tuned",
        key=jax.random.key(0),
    )
    unseen = "image" if mode == "cached" else "features"
    placed = sharding.place_batch({k: v for k, v in batch.items() if k != unseen}, mesh)
    held = [sharding.place_whole(state, sharding.replicated(mesh))]
    flops = count_flops(update.trace(held[0], placed).jaxpr)

    def step() -> float:
        held[0], metrics = update(held[0], placed)
        return float(metrics["loss"])

    return step, flops


def torch_step(
    net: CaptionNet,
    variables: dict,
    batch: dict[str, np.ndarray],
    mode: str,
    flags: argparse.Namespace,
    *,
    compiled: bool,
) -> Step:
    """The same of PyTorch."""
    bfloat16 = net.decoder.dtype == jnp.bfloat16
    captioner = torch_encoder.Captioner(
        torch_encoder.random_resnet(flags.depth),
        jax.tree.map(np.asarray, dict(variables["params"]["decoder"])),
        grid=(flags.grid, flags.grid),
        dtype=torch.bfloat16 if bfloat16 else torch.float32,
        train_encoder=mode == "fine_tuned",
    )
    if mode == "cached":
        seen = batch["features"][:, 0]
    else:
        seen = ((batch["image"] - np.array(net.mean)) / np.array(net.std)).astype(np.float32)
    return torch_encoder.training_step(
        captioner, seen, batch["tokens"], learning_rate=LEARNING_RATE, compiled=compiled
    )


def check_losses(mode: str, steps: dict[str, Step], *, tolerance: float) -> None:
    """Raises ValueError unless all candidates report one loss for the first two updates."""
    losses = {name: (step(), step()) for name, step in steps.items()}
    print(f"{mode}: " + ", ".join(f"{n} {a:.4f} {b:.4f}" for n, (a, b) in losses.items()))
    for name, values in losses.items():
        if not np.allclose(values, losses["capjax"], rtol=0, atol=tolerance):
            raise ValueError(f"{name} computes {values}; capjax computes {losses['capjax']}")


def main() -> None:
    """Times the three modes on both sides and prints the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--batch", type=int, default=64, help="captions an update")
    parser.add_argument("--depth", type=int, default=101, help="of the ResNet")
    parser.add_argument("--side", type=int, default=224, help="of the images, in pixels")
    parser.add_argument("--grid", type=int, default=14, help="side of the map of features")
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    parser.add_argument("--peak-teraflops", type=float, default=0.0, help="of the device, for MFU")
    flags = parser.parse_args()

    net = make_net(flags)
    batch = make_batch(flags, net.decoder.features)
    variables = make_variables(net, torch_encoder.random_resnet(flags.depth), batch["image"])
    peak = flags.peak_teraflops * 1e12 or peak_flops(jax.devices()[0])
    ratios, figures = {}, {}
    for mode in MODES:
        own, flops = capjax_step(net, variables, batch, mode, flags.grid)
        steps = {"capjax": own}
        for compiled in (False,) if flags.eager else (False, True):
            name = "torch_compiled" if compiled else "torch_eager"
            steps[name] = torch_step(net, variables, batch, mode, flags, compiled=compiled)
        check_losses(mode, steps, tolerance=1e-3 if net.decoder.dtype == jnp.float32 else 2e-2)
        seconds = time_in_turn(steps, rounds=flags.rounds, warmup=1)
        ratios[mode] = min(v for n, v in seconds.items() if n != "capjax") / seconds["capjax"]
        for name, value in seconds.items():
            figures[f"{name}_{mode}_captions_per_s"] = flags.batch / value
            figures[f"{name}_{mode}_teraflops"] = flops / value / 1e12
            if peak:
                figures[f"{name}_{mode}_mfu"] = flops / value / peak
    report("train_encoder", ratios=ratios, figures=figures, save=flags.save)


if __name__ == "__main__":
    main()
