"""`python -m capjax.weights list | convert | verify`: pretrained weights, and whether they fit."""

import argparse
import ast
import os
import pathlib
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import linen as nn
from flax import traverse_util

from capjax.captioner import captioner_folder, load_captioner
from capjax.checkpoints.settings import module_from_json, setting_fields
from capjax.encoders import ENCODERS
from capjax.runtime.files import replacing
from capjax.runtime.fingerprint import sha256_of
from capjax.runtime.standard_streams import outlive_readers
from capjax.runtime.text_table import format_table
from capjax.weights.convert import choose_layout
from capjax.weights.encoders import (
    described_as_ours,
    layouts_of,
    load_encoder_weights,
    weight_file,
)
from capjax.weights.hub import HubFile
from capjax.weights.hub_address import is_hub, parse_hub
from capjax.weights.keras.captioner import load_keras_captioner
from capjax.weights.known import Known, known_models, known_weights
from capjax.weights.parts import split_part
from capjax.weights.readers import read_weights
from capjax.weights.whole_models import load_model

OK, PROBLEMS, USAGE = 0, 1, 2
_FILE = (
    "safetensors (or the index of its shards), .npz, PyTorch .pth or .bin, Keras .h5, frozen "
    "TensorFlow graph .pb; a folder with one of them; or hf:owner/name[@revision][/file]. "
    "FILE#PART is one of the state dicts in it, or the keys that begin with PART"
)
EXAMPLES = {
    name: f"python -m capjax.weights {rest}"
    for name, rest in {
        "list": "list",
        "convert": "convert hf:timm/resnet50.tv_in1k --encoder=resnet --depth=50 "
        "--out=resnet50.safetensors",
        "captioner": "convert captioner.h5 --vocabulary=vocab.txt --out=captioner",
        "verify": "verify resnet50.pth --encoder=resnet --depth=50",
        "model": "verify hf:nlpconnect/vit-gpt2-image-captioning",
    }.items()
}
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
        if options.command == "convert" and options.encoder_weights and not options.vocabulary:
            command.error("--encoder-weights is of a captioner of Keras: add --vocabulary")
        if options.command == "convert" and options.vocabulary:
            if rest or options.encoder:
                command.error("a captioner says itself which encoder it has: leave out --encoder")
            return _convert_captioner(options)
        if not options.encoder and options.command == "verify" and _is_whole(options.file):
            if rest or options.sha256:
                command.error("a whole model has no settings and no one digest: leave them out")
            return _verify_model(options.file)
        if not options.encoder:
            command.error("the following arguments are required: --encoder")
        if options.command == "convert" and not options.out.endswith(".safetensors"):
            command.error(f"got --out={options.out}; expected a file that ends in .safetensors")
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
        prog="python -m capjax.weights", **_described(__doc__, "list", "verify", "model")
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser(
        "list",
        help="print the encoders and where their weights are from; or the arrays of a file",
        **_described(
            "Without FILE: every encoder, the files it reads, parameter counts, published weights "
            "and the preprocessing; then whole models. With FILE: its keys, shapes and types.",
            "list",
        ),
    )
    shown.add_argument("file", nargs="?", metavar="FILE", help=_FILE)
    converted = commands.add_parser(
        "convert",
        help="write weights under our names as safetensors; or a captioner of Keras as ours",
        **_described(
            "Reads weights of any known layout and writes them as safetensors under the names of "
            f"capjax, which load without any conversion, and prints the sha256. {_FIELDS} With "
            "--vocabulary, FILE is a captioner that was trained in Keras (EfficientNetV2 and an "
            "LSTM), and --out a folder that --model takes.",
            *("convert", "captioner"),
        ),
    )
    verified = commands.add_parser(
        "verify",
        help="say whether weights fit an encoder, or a whole model loads, and what does not fit",
        **_described(
            "Exit code: 0 the weights fit, 1 they do not (the culprits are listed), 2 wrong usage. "
            f"{_FIELDS} Without --encoder, FILE is a whole model: a captioner's folder, or a "
            "ViT-GPT2, BERT or CLIP as transformers keeps it, in a folder or as hf:owner/name.",
            *("verify", "model"),
        ),
    )
    for command in (converted, verified):
        command.add_argument("file", metavar="FILE", help=_FILE)
        command.add_argument("--encoder", choices=sorted(ENCODERS), help="its name")
    converted.add_argument("--out", required=True, help="file to write, .safetensors; or folder")
    converted.add_argument("--vocabulary", metavar="TXT", help="words of a captioner of Keras")
    converted.add_argument(
        "--encoder-weights", metavar="FILE", help="its encoder, where FILE holds the LSTM alone"
    )
    verified.add_argument(
        "--sha256", type=_as_digest, help="also check the digest of the file, 64 hex digits"
    )
    return parser, {"list": shown, "convert": converted, "verify": verified}


def _as_digest(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected 64 hexadecimal digits")
    return text.lower()


def _described(text: str | None, *examples: str) -> dict[str, Any]:
    """Description and examples of a parser; commands are not broken, so that they can be copied."""
    return {
        "description": textwrap.fill(text or "", 80),
        "epilog": "\n".join(["examples:", *(f"  {EXAMPLES[name]}" for name in examples)]),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _encoder(name: str, settings: Sequence[str]) -> nn.Module:
    """Makes the encoder from settings "--field=value".

    Other settings have their defaults. Where these do not fit, as conv5_4 does not fit VGG-16, they
    are those of published weights that have the given settings.

    Raises:
      ValueError: it has no such setting, the text is no setting, or its value means nothing to the
        encoder.
    """
    cls: Any = ENCODERS[name]
    known = [field.name for field in setting_fields(cls)]
    fields: dict[str, Any] = {}
    for text in settings:
        field, equals, value = text.removeprefix("--").partition("=")
        if not text.startswith("--") or not equals or field not in known:
            raise ValueError(
                f"got {text!r}; expected --NAME=VALUE with a setting of {name}: {', '.join(known)}"
            )
        if field in fields:
            raise ValueError(f"--{field} is given twice; give it once")
        try:
            fields[field] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            fields[field] = value
    try:
        return _checked(name, fields)
    except (ValueError, TypeError, ArithmeticError) as error:
        published = [row.fields for row in known_weights() if row.encoder == name]
        fitting = [row for row in published if fields.items() < row.items()]
        if not fitting:
            raise ValueError(f"{name} with {' '.join(settings)} means nothing: {error}") from error
    return _checked(name, fitting[0])


def _checked(name: str, fields: Mapping[str, Any]) -> nn.Module:
    """Makes the encoder and checks that its settings make a net."""
    encoder: Any = _module(name, fields)
    images = jax.ShapeDtypeStruct((1, *encoder.preprocessing().size, 3), jnp.float32)
    jax.eval_shape(encoder.init, jax.random.key(0), images)
    return encoder


def _print_file(file: str) -> int:
    path = _local(file)
    arrays = read_weights(path)
    rows = [[name, list(array.shape), array.dtype] for name, array in arrays.items()]
    print(format_table(rows, left=3))
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
            lines = [["images", _shown(module)], ["tested", row.made_for]]
            lines += [[row.layout, source] for source in row.sources]
            print(_indented(lines))
    for model in known_models():
        print(f"{model.kind}  ({model.parameters:,} parameters)")
        print(_indented([["for", model.use], *(["whole", source] for source in model.sources)]))
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


def _is_whole(file: str) -> bool:
    """Whether a name is of a model and not of a file of weights."""
    if is_hub(file):
        return parse_hub(file).file is None
    return os.path.isdir(file) or captioner_folder(file) is not None


def _verify_model(file: str) -> int:
    folder = None if is_hub(file) else captioner_folder(file)
    if folder is not None:
        captioner = load_captioner(folder)
        print(f"loads: a captioner ({type(captioner.net.decoder).__name__})")
        print(f"{captioner.hash}  {folder}")
        return OK
    loaded = load_model(file)
    print(f"loads: {loaded.kind}, {loaded.parameters:,} parameters")
    print(loaded.origin)
    return OK


def _verify(options: argparse.Namespace, encoder: nn.Module) -> int:
    path = _local(options.file)
    digest = _digest(path)
    if options.sha256 and options.sha256 != digest:
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


def _local(file: str) -> str | os.PathLike[str]:
    """The weights that a name means; of a folder those in it."""
    if os.path.isdir(file) and captioner_folder(file) is not None:
        raise ValueError(
            f"{file} is a captioner, not an encoder's weights: to verify it leave out --encoder; a "
            "config takes it as it is, --config.encoder.weights"
        )
    return weight_file(file)


def _digest(path: str | os.PathLike[str]) -> str:
    return path.sha256 if isinstance(path, HubFile) else sha256_of(split_part(path)[0])


def _module(name: str, fields: Mapping[str, Any]) -> nn.Module:
    return module_from_json({"name": name, **fields}, ENCODERS)


def _indented(rows: Sequence[Sequence[str]]) -> str:
    return textwrap.indent(format_table(rows, left=2), "    ")


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
    outlive_readers()
    sys.exit(main())
