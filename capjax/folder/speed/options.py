"""The options of explain.py that are about its speed."""

import argparse


def add_speed_options(parser: argparse.ArgumentParser) -> None:
    """Adds --profile."""
    add = parser.add_mutually_exclusive_group().add_argument
    add(
        "--profile",
        metavar="DIR",
        help="also write a trace of up to 10 batches to DIR, for xprof or TensorBoard's profile "
        "plugin, and print the seconds of each stage of the run: compare (with what is there), "
        "compile, decode, encode (and caption), explain, fetch, write, trace; studies and the "
        "report are not in it",
    )
