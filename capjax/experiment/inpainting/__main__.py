"""Compares an inpainter with other fills in the holes that its run validates on.

python -m capjax.experiment.inpainting --config=FILE --model=RUN [--fills=mean,blur,…] [--count=N]
"""

import argparse
import pathlib
import runpy
import sys
from collections.abc import Sequence

from capjax.config.inpainting import InpaintingConfig, resolve_inpainting
from capjax.experiment.inpainting.comparing import compared, format_compared
from capjax.inpaint.fills.contract import Fill
from capjax.inpaint.fills.gated import Gated
from capjax.inpaint.fills.named import named_fill
from capjax.runtime.standard_streams import outlive_readers

CLASSICAL = "mean,blur,plate,telea,navier_stokes,biharmonic"
OK, USAGE = 0, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m capjax.experiment.inpainting",
        description="Prints PSNR, SSIM and L1 inside the holes of a config's validation pictures "
        "(of scenes: their objects), with 95 % intervals over pictures, for fills side by side.",
    )
    add = parser.add_argument
    add(
        "--config", required=True, type=pathlib.Path, help="a file such as configs/inpaint_small.py"
    )
    add("--model", action="append", default=[], help="an inpainter; may be repeated")
    add("--fills", default=CLASSICAL, help=f"others, default {CLASSICAL}; empty: none")
    add("--root", default="", help="data root, as --config.data.root of train.py")
    add("--count", type=int, default=0, help="the first so many pictures; default: all")
    options = parser.parse_args(arguments)
    try:
        config = runpy.run_path(str(options.config))["get_config"]()
        if not isinstance(config, InpaintingConfig):
            raise ValueError(f"{options.config} trains no inpainter")
        config.data.root = options.root
        names = options.fills.split(",") if options.fills else []
        fills: dict[str, Fill] = {name: named_fill(name) for name in names}
        fills |= {model: Gated(checkpoint=model) for model in options.model}
        for fill in fills.values():
            fill.check()
        scores = compared(resolve_inpainting(config), fills, options.count)
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    print(format_compared(scores))
    return OK


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
