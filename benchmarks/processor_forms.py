"""What each form that helps a processor only is worth in a whole command.

    python benchmarks/processor_forms.py [--only=resnet50,train_float32] [--rounds=5] [--save]

Every command is compiled as it is, then once more for each form with that form's plain counterpart
(`capjax.ops.platform.on_processor`). A ratio is the time without the form over the time with it,
the median over calls in turn: below 1.05 a form is not worth its code. Ratios called `…_wall` are
those of the clock, the others those of the processor, which another program on the machine disturbs
less; where they disagree, threads wait. A form that a command does not contain is left out. Every
program lives in a process of its own: JAX keeps what it traced, and would use it for the next form.
"""

from __future__ import annotations

import importlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

import caption_guided
import decode
import jax
import jax.numpy as jnp
import numpy as np
import train_step
from protocol import argument_parser, report

from capjax.captioner import CaptionNet
from capjax.decoders import LSTM
from capjax.decoding import Beam, generate
from capjax.encoders import VGG, EfficientNetV2, MobileNet, ResNet
from capjax.ops import barrier, platform

FORMS = {
    "tiles": "Winograd's form of 3x3 convolutions",
    "shifted": "a depthwise convolution as shifted sums",
    "in_parts": "a batch in parts of a few images",
    "optimization_barrier": "what a barrier keeps from being computed twice",
    "_loop_with_keys": "the gradient of the keys summed inside the loop",
    "_by_plan": "a processor's own budget of caption-guided saliency",
}
"""Name of the fast function -> what it is."""


def encoding(encoder: Any, side: int, batch: int) -> Callable[[], Any]:
    """A call that encodes a batch of noise, through the net that commands use."""
    net = CaptionNet(encoder, LSTM(vocab_size=8, features=2048), (0.0,) * 3, (1.0,) * 3)
    draw = np.random.default_rng(0)
    images = jnp.asarray(draw.normal(size=(batch, side, side, 3)), jnp.float32)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), images[:1])
    # Small and positive, so that no variance is negative. Compiling `init` takes minutes for some.
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(abs(draw.normal(0.0, 0.02, leaf.shape)), leaf.dtype), shapes
    )
    held = {name: {"encoder": value} for name, value in variables.items()}
    compiled = barrier.jit(lambda held, x: net.apply(held, x, method="encode").positions)
    return lambda: compiled(held, images)


def beam() -> Callable[[], Any]:
    """A call that writes 32 captions by beam search."""
    net, variables, features = decode.build(32)
    write = jax.jit(lambda v, x: generate(net, v, x, Beam(3), eos=0, max_len=20))
    return lambda: write(variables, features)


COMMANDS: Mapping[str, Callable[[], Callable[[], Any]]] = {
    "mobilenet": lambda: encoding(MobileNet(), 224, 16),
    "resnet50": lambda: encoding(ResNet(depth=50), 224, 8),
    "vgg16": lambda: encoding(VGG(depth=16, output="conv5_3"), 224, 4),
    "efficientnet_s": lambda: encoding(EfficientNetV2(size="s", weights_of="torchvision"), 384, 4),
    "train_float32": lambda: train_step.capjax_step(jnp.float32),
    "train_bfloat16": lambda: train_step.capjax_step(jnp.bfloat16),
    "guided_float32": lambda: caption_guided.capjax_losses(jnp.float32),
    "guided_bfloat16": lambda: caption_guided.capjax_losses(jnp.bfloat16),
    "beam": beam,
}


def serve(connection: Connection, command: str, without: str) -> None:
    """Compiles a command without one form, sends the forms that it met, times calls on request."""
    met: set[str] = set()
    choose = platform.on_processor

    def on_processor(fast: Any, plain: Any, *arguments: Any) -> Any:
        name = getattr(fast, "__name__", None) or fast.func.__name__
        met.add(name)
        return plain(*arguments) if name == without else choose(fast, plain, *arguments)

    word_losses = importlib.import_module("capjax.explainers.word_losses")
    with (
        mock.patch.object(platform, "on_processor", on_processor),
        mock.patch.object(word_losses, "on_processor", on_processor),
    ):
        call = COMMANDS[command]()
        for _ in range(2):
            jax.block_until_ready(call())
    connection.send(met)
    while connection.recv():
        connection.send(seconds(call))


def started(command: str, without: str) -> tuple[Connection, set[str]]:
    """A process that times a command without one form, ready, and the forms that it met."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process
    process(target=serve, args=(there, command, without), daemon=True).start()
    there.close()
    met: set[str] = here.recv()
    return here, met


def timed(connection: Connection) -> tuple[float, float]:
    """Seconds of one call over there, of the processor and of the clock."""
    connection.send(True)
    found: tuple[float, float] = connection.recv()
    return found


def main() -> None:
    """Times every command with and without each form."""
    parser = argument_parser(__doc__)
    parser.add_argument("--only", default=",".join(COMMANDS), help="commands, comma-separated")
    options = parser.parse_args()
    ratios, figures = {}, {}
    for command in options.only.split(","):
        usual, met = started(command, "")
        others = {form: started(command, form)[0] for form in FORMS if form in met}
        pairs: dict[str, list[tuple[float, float]]] = {form: [] for form in others}
        base = []
        for _ in range(options.rounds):
            base.append(timed(usual))
            for form, other in others.items():
                without, (own, clock) = timed(other), base[-1]
                pairs[form].append((without[0] / own, without[1] / clock))
        for connection in (usual, *others.values()):
            connection.send(False)
        for at, unit in enumerate(("processor_s", "wall_s")):
            figures[f"{command}_{unit}"] = statistics.median(each[at] for each in base)
        for form, values in pairs.items():
            own, clock = (statistics.median(each[at] for each in values) for at in (0, 1))
            ratios[f"{command}_{form}"], ratios[f"{command}_{form}_wall"] = own, clock
            print(f"{command} without {form}: {own:.3f}, by the clock {clock:.3f}", flush=True)
    report("processor_forms", ratios=ratios, figures=figures, save=options.save)


def seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Time of one call, of the processor and of the clock."""
    begin = time.process_time(), time.perf_counter()
    jax.block_until_ready(call())
    return time.process_time() - begin[0], time.perf_counter() - begin[1]


if __name__ == "__main__":
    main()
