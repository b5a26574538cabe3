"""`python -m capjax.weights list | convert | verify`: pretrained weights, and whether they fit."""

import argparse
import ast
import dataclasses
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.numpy
from flax import linen as nn
from flax import traverse_util

from capjax.captioner import module_from_json
from capjax.encoders import ENCODERS
from capjax.files import replacing
from capjax.weights.convert import choose_layout
from capjax.weights.encoders import described_as_ours, layouts_of, load_encoder_weights
from capjax.weights.hub import HubFile, hub_file, is_hub, sha256_of
from capjax.weights.keras_captioner import load_keras_captioner
from capjax.weights.known import Known, known_weights
from capjax.weights.readers import read_weights

OK, PROBLEMS, USAGE = 0, 1, 2
_FILE = (
    "safetensors (or the index of its shards), .npz, PyTorch .pth or .bin, Keras .h5, frozen "
    "TensorFlow graph .pb; or hf:owner/name[@revision][/file]"
)
_FIELDS = "Settings of the encoder follow as --NAME=VALUE, as in --encoder=resnet --depth=50."


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 fine, 1 problems found, 2 wrong usage."""
    parser, by_name = _parser()
    options, rest = parser.parse_known_args(arguments)
    command = by_name[options.command]
    try:
        if options.command == "list":
            if rest:
                command.error(f"unrecognized arguments: {' '.join(rest)}")
            return _print_file(options.file) if options.file else _print_known()
        if options.command == "convert" and options.vocabulary:
            if rest or options.encoder:
                command.error("a captioner says itself which encoder it has: leave out --encoder")
            return _convert_captioner(options)
        if not options.encoder:
            command.error("the following arguments are required: --encoder")
        try:
            encoder = _encoder(options.encoder, rest)
        except ValueError as error:
            command.error(str(error))
        run = _convert if options.command == "convert" else _verify
        return run(options, encoder)
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return PROBLEMS


def _parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        prog="python -m capjax.weights", description=__doc__, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser(
        "list",
        help="print the encoders and where their weights are from; or the arrays of a file",
        description="Without FILE: every encoder, the files it reads, parameter counts, published "
        "weights and the preprocessing. With FILE: its keys, shapes and types.",
        allow_abbrev=False,
    )
    shown.add_argument("file", nargs="?", metavar="FILE", help=_FILE)
    converted = commands.add_parser(
        "convert",
        help="write weights under our names as safetensors; or a captioner of Keras as ours",
        description="Reads weights of any known layout and writes them as safetensors under the "
        "names of capjax, which load without any conversion, and prints the sha256. "
        + _FIELDS
        + " With --vocabulary, FILE is a captioner that was trained in Keras (EfficientNetV2 and "
        "an LSTM), and --out a folder that --model takes.",
        epilog="example: python -m capjax.weights convert hf:timm/resnet50.tv_in1k "
        "--encoder=resnet --depth=50 --out=resnet50.safetensors",
        allow_abbrev=False,
    )
    verified = commands.add_parser(
        "verify",
        help="say whether weights fit an encoder, and what does not",
        description="Exit code: 0 the weights fit, 1 they do not (the culprits are listed), "
        "2 wrong usage. " + _FIELDS,
        epilog="example: python -m capjax.weights verify resnet50.pth --encoder=resnet --depth=50",
        allow_abbrev=False,
    )
    for command in (converted, verified):
        command.add_argument("file", metavar="FILE", help=_FILE)
        command.add_argument("--encoder", choices=sorted(ENCODERS), help="its name")
    converted.add_argument("--out", required=True, help="file to write, .safetensors; or folder")
    converted.add_argument("--vocabulary", metavar="TXT", help="words of a captioner of Keras")
    converted.add_argument(
        "--encoder-weights", metavar="FILE", help="its encoder, where FILE holds the LSTM alone"
    )
    verified.add_argument("--sha256", help="also check the digest of the file")
    return parser, {"list": shown, "convert": converted, "verify": verified}


def _encoder(name: str, settings: Sequence[str]) -> nn.Module:
    """The encoder with the settings "--field=value".

    Raises:
      ValueError: it has no such setting, or the text is no setting.
    """
    cls: Any = ENCODERS[name]
    known = [f.name for f in dataclasses.fields(cls) if f.name not in ("parent", "name")]
    fields: dict[str, Any] = {}
    for text in settings:
        field, equals, value = text.removeprefix("--").partition("=")
        if not text.startswith("--") or not equals or field not in known:
            raise ValueError(
                f"got {text!r}; expected --NAME=VALUE with a setting of {name}: {', '.join(known)}"
            )
        try:
            fields[field] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            fields[field] = value
    return _module(name, fields)


def _print_file(file: str) -> int:
    path = _local(file)
    arrays = read_weights(path)
    for name, array in arrays.items():
        print(f"{name}  {list(array.shape)}  {array.dtype}")
    total = sum(array.size for array in arrays.values())
    print(f"{len(arrays)} arrays, {total:,} numbers, sha256 {_digest(path)}")
    return OK


def _print_known() -> int:
    rows: dict[str, list[Known]] = {name: [] for name in ENCODERS}
    for row in known_weights():
        rows[row.encoder].append(row)
    for name, each in rows.items():
        modules = [_module(row.encoder, row.fields) for row in each] or [_module(name, {})]
        layouts = dict.fromkeys(table.layout for m in modules for table in layouts_of(m))
        print(f"{name}: reads files of {', '.join(layouts)}")
        for row, module in zip(each, modules, strict=False):
            print(f"  {_flags(row)}  ({row.parameters:,} parameters)")
            print(f"    images  {_shown(module)}")
            print(f"    tested  {row.made_for}")
            for source in row.sources:
                print(f"    {row.layout}: {source}")
    print('\nread in place: --config.encoder.weights="hf:owner/name"; or FILE, once fetched')
    return OK


def _convert(options: argparse.Namespace, encoder: nn.Module) -> int:
    path = _local(options.file)
    variables = load_encoder_weights(encoder, path)
    flat = {
        name: np.asarray(array)
        for name, array in traverse_util.flatten_dict(variables, sep="/").items()
    }
    described = {
        **described_as_ours(encoder),
        "source": path.spec if isinstance(path, HubFile) else pathlib.Path(path).name,
        "source_sha256": _digest(path),
    }
    out = pathlib.Path(options.out)
    with replacing(out) as stream:
        stream.write(safetensors.numpy.save(flat, metadata=described))
    print(f"{sha256_of(out)}  {out}")
    return OK


def _convert_captioner(options: argparse.Namespace) -> int:
    path, encoder = options.file, options.encoder_weights
    captioner = load_keras_captioner(
        _local(path), options.vocabulary, encoder_weights=_local(encoder) if encoder else None
    )
    captioner.save(options.out)
    print(f"{captioner.hash}  {options.out}")
    return OK


def _verify(options: argparse.Namespace, encoder: nn.Module) -> int:
    path = _local(options.file)
    digest = _digest(path)
    if options.sha256 and options.sha256.lower() != digest:
        print(
            f"error: {options.file} has sha256 {digest}; expected {options.sha256}", file=sys.stderr
        )
        return PROBLEMS
    variables = load_encoder_weights(encoder, path)
    _, table = choose_layout(read_weights(path), layouts_of(encoder), origin=options.file)
    flat = traverse_util.flatten_dict(variables["params"])
    parameters = sum(array.size for array in flat.values())
    print(f"fits {type(encoder).__name__}: {parameters:,} parameters, layout {table.layout}")
    print(f"{digest}  {options.file}")
    return OK


def _local(file: str) -> str | HubFile:
    return hub_file(file) if is_hub(file) else file


def _digest(path: str | os.PathLike[str]) -> str:
    return path.sha256 if isinstance(path, HubFile) else sha256_of(path)


def _module(name: str, fields: Mapping[str, Any]) -> nn.Module:
    return module_from_json({"name": name, **fields}, ENCODERS)


def _flags(row: Known) -> str:
    return " ".join([f"--encoder={row.encoder}", *(f"--{k}={v}" for k, v in row.fields.items())])


def _shown(encoder: Any) -> str:
    made = encoder.preprocessing()
    means, deviations = (
        ", ".join(f"{value:g}" for value in values) for values in (made.mean, made.std)
    )
    return (
        f"{made.size[0]} x {made.size[1]} px, {made.resize}, {made.resample}, "
        f"(x - [{means}]) / [{deviations}]"
    )


if __name__ == "__main__":
    sys.exit(main())
