"""Caption-guided saliency of every word and region, against PyTorch and Captum.

    python benchmarks/caption_guided.py [--rounds=5] [--eager] [--save]

S2VT with H = 1024, V = 10,000, 64 positions of depth 2048, 15 words, 4 images, one set of weights
for all. PyTorch (`torch_saliency.py`) is batched by hand, with all threads, and tried step by step
and in blocks, eager and compiled (not with `--eager`); the fastest
counts. Ratios (seconds of the peer / seconds of capjax, float32 unless said otherwise):

    torch_batched           the same algorithm batched by hand
    torch_public_batched    the same without the operator that PyTorch keeps private (oneDNN)
    torch_loop              the same, one region at a time
    captum, captum_batched  FeatureAblation with its default, and with all regions at once
    matmul_peak             rate of capjax's arithmetic / rate of the product [B P, H] x [H, V]
    bf16_vs_torch_f32, bf16_vs_torch_public_f32, bf16_vs_torch_bf16   capjax's in bfloat16

The whole of one run is printed: all candidates, and memory and arithmetic against the number of
sentences, positions and words. PyTorch and Captum come with the extra `parity`.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from protocol import argument_parser, report, time_in_turn

from capjax.captioner import CaptionNet
from capjax.decoders import S2VT
from capjax.encoders import ConvNet
from capjax.explainers.word_losses import word_losses
from capjax.types import Features

IMAGES, GRID, DEPTH, SIZE, EMBEDDING, VOCABULARY, WORDS = 4, (8, 8), 2048, 1024, 300, 10_000, 15
POSITIONS = GRID[0] * GRID[1]
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
ABLATED = 1
"""Images of the two slow peers; their time is multiplied up."""


def operations(images: int = IMAGES, words: int = WORDS, positions: int = POSITIONS) -> float:
    """Operations of the products that the method needs, a multiplication and an addition each."""
    read = DEPTH * SIZE + SIZE * 4 * SIZE
    write = SIZE * 4 * SIZE + SIZE * VOCABULARY
    return 2.0 * images * (positions * (read + words * write) + words * EMBEDDING * 4 * SIZE)


def problem(
    dtype: Any, images: int = IMAGES, words: int = WORDS, grid: tuple[int, int] = GRID
) -> tuple[CaptionNet, dict[str, Any], Features, jax.Array]:
    """Net, weights, features and tokens [B 1 T]; equal in every call of the same sizes."""
    decoder = S2VT(VOCABULARY, DEPTH, hidden=SIZE, embedding=EMBEDDING, dtype=dtype)
    draw = np.random.default_rng(0)
    maps = np.maximum(draw.normal(size=(images, *grid, DEPTH)), 0).astype(np.float32)
    features = Features.from_grid(jnp.asarray(maps))
    tokens = jnp.asarray(draw.integers(0, VOCABULARY, (images, 1, words)), jnp.int32)
    params = jax.jit(decoder.init)(jax.random.key(0), features, tokens[:, 0])["params"]
    # Kernels rest in the dtype of the products, as PyTorch's do; they are rounded either way.
    params = jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.ndim == 2 else leaf, params)
    net = CaptionNet(ConvNet(), decoder, (0.0,) * 3, (1.0,) * 3)
    return net, {"params": {"decoder": params}}, features, tokens


def capjax_losses(dtype: Any) -> Callable[[], Any]:
    """The call of capjax."""
    arguments = problem(dtype)
    return lambda: word_losses(*arguments).loss


def torch_peers(eager: bool) -> dict[str, Callable[[], Any]]:
    """The batched peers by name."""
    import torch
    import torch_saliency

    device = "cuda" if torch.cuda.is_available() else "cpu"
    _, variables, features, tokens = problem(jnp.float32)
    params = jax.tree.map(np.asarray, variables["params"]["decoder"])
    positions = torch.tensor(np.asarray(features.positions[:, 0]), device=device)
    words = torch.tensor(np.asarray(tokens[:, 0]), dtype=torch.long, device=device)

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def calling(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode():
                found = function(*arguments)
            wait()
            return found

        return call

    peers = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        model = torch_saliency.Captioner(params, dtype).to(device).eval()
        for block in (0, 512):
            kind = f"blocks_of_{block}" if block else "stepwise"
            peers[f"torch_{name}_eager_{kind}"] = calling(model.losses, positions, words, block)
            if not eager:
                compiled = torch.compile(model.losses, dynamic=False)
                peers[f"torch_{name}_compiled_{kind}"] = calling(compiled, positions, words, block)
    if device == "cpu":
        model = torch_saliency.Captioner(params, torch.float32, onednn=True).eval()
        for block in (0, 512):
            kind = f"blocks_of_{block}" if block else "stepwise"
            peers[f"torch_float32_onednn_{kind}"] = calling(model.losses, positions, words, block)
    exact = torch_saliency.Captioner(params, torch.float32).to(device).eval()
    one = (exact, positions[:ABLATED], words[:ABLATED])
    peers["torch_loop"] = calling(torch_saliency.one_by_one, *one)
    peers["captum"] = calling(torch_saliency.ablation, *one, 1)
    peers["captum_batched"] = calling(torch_saliency.ablation, *one, POSITIONS)
    return peers


def matrix_rates(dtype: Any, rounds: int = 10) -> dict[str, float]:
    """Operations a second of the product of the vocabulary (median) and of the best square one."""
    kernel = jax.random.normal(jax.random.key(0), (SIZE, VOCABULARY), dtype)
    states = jax.random.normal(jax.random.key(1), (IMAGES * POSITIONS, SIZE), dtype)
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=jnp.float32))

    def seconds(a: jax.Array, b: jax.Array) -> list[float]:
        jax.block_until_ready(multiply(a, b))
        taken = []
        for _ in range(rounds):
            begin = time.perf_counter()
            jax.block_until_ready(multiply(a, b))
            taken.append(time.perf_counter() - begin)
        return taken

    same = 2 * IMAGES * POSITIONS * SIZE * VOCABULARY / statistics.median(seconds(states, kernel))
    sides = (1024, 2048, 4096) if jax.default_backend() == "cpu" else (4096, 8192, 16384)
    best = 0.0
    for side in sides:
        square = jnp.ones((side, side), dtype)
        best = max(best, 2 * side**3 / min(seconds(square, square)))
    return {"same_shape": same, "best_square": best}


def growth(rounds: int) -> dict[str, float]:
    """Temporary memory, and seconds for each word and region, as sentences, regions and words grow.

    Linear cost shows as the same seconds, a bounded budget as the same memory.
    """
    net, variables, features, tokens = problem(jnp.float32)
    wide = jnp.tile(features.positions.reshape(IMAGES, 1, *GRID, DEPTH), (1, 1, 2, 2, 1))
    sizes = {
        "base": (features, tokens),
        "4_sentences": (features, jnp.tile(tokens, (1, 4, 1))),
        "4_times_regions": (Features.from_grid(wide), tokens),
        "4_times_words": (features, jnp.tile(tokens, (1, 1, 4))),
    }
    calls = {
        name: functools.partial(word_losses, net, variables, *arguments)
        for name, arguments in sizes.items()
    }
    seconds = time_in_turn(calls, rounds=rounds, warmup=1)
    figures = {}
    for name, (features, tokens) in sizes.items():
        compiled = word_losses.lower(net, variables, features, tokens).compile()
        megabytes = compiled.memory_analysis().temp_size_in_bytes / 2**20
        pairs = tokens.size * features.positions.shape[2]
        figures[f"{name}_temporary_mb"] = megabytes
        figures[f"{name}_us_per_word_and_region"] = 1e6 * seconds[name] / pairs
        print(f"{name}: {megabytes:.0f} MB, {1e6 * seconds[name] / pairs:.1f} us a word and region")
    return figures


def main() -> None:
    """Measures, compares and reports."""
    parser = argument_parser(__doc__)
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    flags = parser.parse_args()
    slow = torch_peers(flags.eager)
    scale = {name: IMAGES / ABLATED for name in ("torch_loop", "captum", "captum_batched")}
    quick = {name: call for name, call in slow.items() if name not in scale}
    capjax_calls = {
        "capjax_float32": capjax_losses(jnp.float32),
        "capjax_bfloat16": capjax_losses(jnp.bfloat16),
    }
    agree(capjax_calls, slow)
    rates = {name: matrix_rates(dtype) for name, dtype in DTYPES.items()}
    seconds = time_in_turn({**capjax_calls, **quick}, rounds=flags.rounds, warmup=1)
    for name, factor in scale.items():
        seconds[name] = factor * time_in_turn({name: slow[name]}, rounds=1, warmup=0)[name]
    achieved = {name: operations() / seconds[f"capjax_{name}"] for name in DTYPES}
    for name, value in seconds.items():
        print(f"{name}: {value / IMAGES:.3f} s an image")

    def fastest(dtype: str) -> float:
        return min(value for name, value in seconds.items() if name.startswith(f"torch_{dtype}"))

    half = seconds["capjax_bfloat16"]
    public = min(v for n, v in seconds.items() if "torch_float32" in n and "onednn" not in n)
    report(
        "caption_guided",
        ratios={
            "torch_batched": fastest("float32") / seconds["capjax_float32"],
            "torch_public_batched": public / seconds["capjax_float32"],
            **{name: seconds[name] / seconds["capjax_float32"] for name in scale},
            "matmul_peak": achieved["float32"] / rates["float32"]["same_shape"],
            "bf16_vs_torch_f32": fastest("float32") / half,
            "bf16_vs_torch_public_f32": public / half,
            "bf16_vs_torch_bf16": fastest("bfloat16") / half,
            "bf16_matmul_peak": achieved["bfloat16"] / rates["bfloat16"]["same_shape"],
        },
        figures={
            **{f"{name}_s_per_image": value / IMAGES for name, value in seconds.items()},
            **{
                f"{name}_{shape}_gflop_per_s": value / 1e9
                for name, found in rates.items()
                for shape, value in found.items()
            },
            **{f"{name}_achieved_gflop_per_s": value / 1e9 for name, value in achieved.items()},
            "words_times_images_per_s_bfloat16": IMAGES * WORDS / half,
            **growth(flags.rounds),
        },
        save=flags.save,
    )


def agree(ours: Mapping[str, Callable[[], Any]], theirs: Mapping[str, Callable[[], Any]]) -> None:
    """Raises where a peer's losses are not capjax's: what is timed must be the same."""
    exact = np.asarray(ours["capjax_float32"]()[:, 0, :, 0])
    near = np.asarray(ours["capjax_bfloat16"]()[:, 0, :, 0])
    np.testing.assert_allclose(near, exact, atol=0.05)
    for name, call in theirs.items():
        if name.startswith("captum"):
            continue
        found = call().cpu().numpy()
        tolerance = 0.05 if "bfloat16" in name else 1e-3
        np.testing.assert_allclose(found, exact[: len(found)], atol=tolerance, err_msg=name)


if __name__ == "__main__":
    main()
