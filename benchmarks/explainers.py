"""Maps of every word of a batch of images by four methods, against Captum and PyTorch.

    python benchmarks/explainers.py [--rounds=3] [--side=128] [--save]

ResNet-18 and the soft-attention decoder (512 wide, 10,000 words), one set of weights for all, 15
words of 8 images: Integrated Gradients on the features (32 steps), Grad-CAM, occlusion with 64
windows side by side, RISE with 500 masks. Outputs are compared first. Ratios (seconds of the peer /
seconds of capjax), for each method:

    METHOD_word_by_word   Captum asked for one word of one image at a time, with its perturbed
                          copies or steps together (not RISE, which Captum has not)
    METHOD_at_once        the fastest of Captum with many words at once and of the method batched by
                          hand in PyTorch, eager

The slow peers are timed on `--sample` words of one image and multiplied up. capjax's RISE computes
standard errors, too. PyTorch, torchvision and Captum come with the extra `parity`
(`torch_explainers.py`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch_encoder
import torch_explainers
from protocol import argument_parser, report, time_in_turn

from capjax.captioner import CaptionNet, build_net
from capjax.decoders import AttentionLSTM
from capjax.encoders import ResNet
from capjax.explainers import RISE, GradCAM, IntegratedGradients, Method, Occlusion
from capjax.explainers.perturbation.rise import PILOT
from capjax.explainers.programs import make_request
from capjax.explainers.request import Request
from capjax.weights.encoders import fit_weights

VOCABULARY, SIZE, DEPTH = 10_000, 512, 18
ACROSS = 8
"""Windows of occlusion down and across."""

Call = Callable[[], Any]


def problem(flags: argparse.Namespace) -> tuple[CaptionNet, dict, np.ndarray, np.ndarray]:
    """Net, weights, images [B H W 3] and tokens [B T]; equal in every call of the same sizes."""
    encoder = ResNet(DEPTH)
    decoder = AttentionLSTM(VOCABULARY, SIZE, hidden=SIZE, attention=SIZE, embedding=SIZE)
    net = build_net(encoder, decoder, encoder.preprocessing((flags.side, flags.side)))
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (flags.images, flags.side, flags.side, 3)).astype(np.uint8)
    tokens = draw.integers(0, VOCABULARY, (flags.images, flags.words)).astype(np.int32)
    variables = jax.jit(net.init)(jax.random.key(0), images[:1], jnp.zeros((1, 1), jnp.int32))
    state = torch_encoder.random_resnet(DEPTH).state_dict()
    source = {name: value.numpy() for name, value in state.items()}
    example = jnp.zeros((1, *images.shape[1:]), jnp.float32)
    for kind, arrays in fit_weights(net.encoder, source, example, origin="torchvision").items():
        variables[kind] = {**variables[kind], "encoder": jax.tree.map(jnp.asarray, arrays)}
    return net, variables, images, tokens


def request_of(net: CaptionNet, variables: dict, images: jax.Array, tokens: jax.Array) -> Request:
    """What is asked: every word of every image."""
    features: Any = net.apply(variables, images, method="encode")
    rows, words = tokens.shape
    weights = jnp.broadcast_to(jnp.eye(words), (rows, 1, words, words))
    seeds = jnp.arange(rows, dtype=jnp.uint32)
    given = (features, tokens[:, None], jnp.full((rows, 1), words), weights)
    return make_request(net, variables, *given, images=images, seeds=seeds)


def capjax_call(net: CaptionNet, method: Method, *arrays: Any) -> Call:
    """Maps [B T h w] of the method, by what it explains unless asked otherwise."""

    @jax.jit
    def maps(variables: dict, images: jax.Array, tokens: jax.Array) -> jax.Array:
        request = request_of(net, variables, images, tokens).replace(measure=method.MEASURE)
        return method(net, variables, request)[method.NAME].values[:, 0, :, 0]

    placed = jax.device_put(arrays)
    return lambda: maps(*placed)


def torch_model(
    net: CaptionNet, variables: dict, images: np.ndarray, tokens: np.ndarray
) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The same captioner in PyTorch, and what it is given."""
    params = jax.tree.map(np.asarray, dict(variables["params"]["decoder"]))
    model = torch_explainers.Captioner(torch_encoder.random_resnet(DEPTH), params)
    normalised = ((images - np.array(net.mean)) / np.array(net.std)).astype(np.float32)
    return model, torch.tensor(normalised).permute(0, 3, 1, 2), torch.tensor(tokens).long()


def compare(name: str, ours: Any, theirs: Mapping[str, Any]) -> None:
    """Raises where a peer's maps, or those it has, are not capjax's."""
    ours = np.asarray(ours)
    for peer, found in theirs.items():
        found = np.asarray(found)
        own = ours[: found.shape[0], : found.shape[1]].reshape(found.shape)
        away = np.abs(found - own).max() / np.abs(own).max()
        print(f"{name} of {peer}: {away:.1e} of the largest value away")
        if not away < 1e-3:
            raise ValueError(f"{peer} has other maps of {name} than capjax: {away:.1e} away")


def main() -> None:
    """Compares, measures and reports."""
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--words", type=int, default=15, help="of each caption")
    parser.add_argument("--side", type=int, default=128, help="of the images, in pixels")
    parser.add_argument("--steps", type=int, default=32, help="of Integrated Gradients")
    parser.add_argument("--masks", type=int, default=500, help="of RISE")
    parser.add_argument("--sample", type=int, default=2, help="words that slow peers explain")
    parser.set_defaults(rounds=3)
    flags = parser.parse_args()
    window = flags.side // ACROSS
    net, *arrays = problem(flags)
    given = torch_model(net, *arrays)
    captum = torch_explainers.Captum(*given)
    loops, vectors = (torch_explainers.Batched(*given, vectorised=own) for own in (False, True))
    rise = RISE(masks=flags.masks)
    methods = {
        "gradcam": GradCAM(),
        "ig": IntegratedGradients(steps=flags.steps),
        "occlusion": Occlusion(window=window, stride=window),
        "rise": rise,
    }
    ours = {name: capjax_call(net, method, *arrays) for name, method in methods.items()}
    slow: dict[str, Call] = {
        "gradcam": lambda: captum.gradcam(1, flags.sample),
        "ig": lambda: captum.integrated_gradients(1, flags.sample, flags.steps),
        "occlusion": lambda: captum.occlusion(1, flags.sample, window),
    }
    at_once: dict[str, dict[str, Call]] = {
        "gradcam": {
            "captum": captum.gradcam_at_once,
            "torch_loop": loops.gradcam,
            "torch_vectorised": vectors.gradcam,
        },
        "ig": {
            "captum": lambda: captum.integrated_gradients_at_once(flags.steps),
            "torch_loop": lambda: loops.integrated_gradients(flags.steps),
            "torch_vectorised": lambda: vectors.integrated_gradients(flags.steps),
        },
        "occlusion": {
            "captum": lambda: captum.occlusion_at_once(window),
            "torch": lambda: loops.occlusion(window),
        },
        "rise": {"torch": lambda: loops.rise(flags.masks, PILOT, rise.cells)},
    }
    check(net, arrays, ours, slow, at_once, loops)
    ratios, figures = {}, {}
    for name, own in ours.items():
        seconds = time_in_turn({"capjax": own, **at_once[name]}, rounds=flags.rounds, warmup=1)
        peers = {peer: value for peer, value in seconds.items() if peer != "capjax"}
        ratios[f"{name}_at_once"] = min(peers.values()) / seconds["capjax"]
        if name in slow:
            one = time_in_turn({"slow": slow[name]}, rounds=1, warmup=1)["slow"]
            seconds["captum_word_by_word"] = one * flags.images * flags.words / flags.sample
            ratios[f"{name}_word_by_word"] = seconds["captum_word_by_word"] / seconds["capjax"]
        figures |= {f"{name}_{peer}_s": value for peer, value in seconds.items()}
        print(f"{name}: " + ", ".join(f"{peer} {value:.3g} s" for peer, value in seconds.items()))
    report("explainers", ratios=ratios, figures=figures, save=flags.save)


def check(
    net: CaptionNet,
    arrays: list,
    ours: Mapping[str, Call],
    slow: Mapping[str, Call],
    at_once: Mapping[str, Mapping[str, Call]],
    batched: torch_explainers.Batched,
) -> None:
    """Compares all maps; those of RISE through the same few masks."""
    for name, call in ours.items():
        if name != "rise":
            peers = {peer: own() for peer, own in at_once[name].items()}
            compare(name, call(), {"captum word by word": slow[name](), **peers})
    few = RISE(masks=16)
    numbers = jnp.arange(few.masks + PILOT)
    drawn = jax.jit(lambda *given: few.drawn(request_of(net, *given), numbers))
    masks = torch.tensor(np.asarray(drawn(*arrays)[:, :, 0]))
    theirs = batched.rise(masks[:, : few.masks], masks[:, few.masks :], few.cells)
    compare("rise", capjax_call(net, few, *arrays)(), {"torch": theirs})


if __name__ == "__main__":
    main()
