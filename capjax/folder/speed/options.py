"""The options of explain.py that are about its speed."""

import argparse


def add_speed_options(parser: argparse.ArgumentParser) -> None:
    """Adds --estimate, --warm-up and --profile, of which one may be given."""
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "--estimate",
        nargs="?",
        const="",
        metavar="FILE",
        help="explain one batch as a trial, print images a second, memory, the time for all and "
        "the cores that an accelerator needs beside it, with how that was measured, and end; "
        "--estimate=FILE also writes the figures as JSON; nothing is written to --out",
    )
    add(
        "--warm-up",
        action="store_true",
        help="compile the programs that a run with these options and images needs, keep them in "
        "$JAX_COMPILATION_CACHE_DIR (default ~/.cache/capjax/xla) and end; nothing is written to "
        "--out",
    )
    add(
        "--profile",
        metavar="DIR",
        help="also write a trace of up to 10 steps, a batch each, to DIR, for xprof or "
        "TensorBoard's profile plugin, and print the seconds of each stage of the run: compare "
        "(with what is there), compile, decode, encode (and caption), explain, fetch, write, "
        "trace; studies and the report are not in it",
    )
