"""`python -m capjax.studies adversarial`: success of attacks against epsilon on photographs."""

import argparse
import csv
import io
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from capjax.captioner import Captioner
from capjax.data.pictures.finding import find_images
from capjax.data.pictures.given import prepared
from capjax.data.pictures.images import UnreadableFileError
from capjax.data.sources.references import read_references
from capjax.decoding.captions import caption_batch
from capjax.decoding.rules import default_decoding
from capjax.runtime.command_line import MODEL_HELP, at_least_one, refuse_repeated
from capjax.runtime.files import replacing
from capjax.studies.adversarial.attack import Attack, Attacked, Writing
from capjax.studies.adversarial.batch import attack_at, goal_of, sentence_tokens
from capjax.studies.adversarial.goals import Goal
from capjax.studies.adversarial.named import ATTACKS, named_attack
from capjax.studies.adversarial.success import Fooled, success_table
from capjax.studies.adversarial.telling import Distance
from capjax.types import Caption

CURVE, TABLE, RESULTS = "success.png", "success.csv", "success.json"
DESCRIPTION = (
    "Attacks photographs and writes how often the captioner is fooled within each epsilon: "
    f"{TABLE}, {RESULTS} and the curve {CURVE}. fgsm and pgd move away from the captioner's own "
    "caption. show_and_fool moves towards the caption of another photograph, drawn by --seed, and "
    "runs once within the largest epsilon: a photograph counts from the epsilon on that its change "
    "lies within. What counts is the picture rounded to 8 bits. Exit codes: 0 done, 1 --out takes "
    "no more, 2 wrong usage."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    refuse_repeated(parser)
    add = parser.add_argument
    add("--model", required=True, help=MODEL_HELP)
    add("--images", required=True, nargs="+", help="folders, files, or quoted patterns")
    add("--out", required=True, help="folder of the results")
    add(
        "--attacks",
        default=",".join(ATTACKS),
        help=f"with commas, of: {', '.join(ATTACKS)}; options as in "
        "show_and_fool+steps=300+tries=3+rate=0.05 (default: all)",
    )
    add(
        "--epsilons",
        default="1,2,4,8,16",
        help="largest changes, in levels of 255, with commas (default 1,2,4,8,16)",
    )
    add(
        "--captions",
        help="captions by people, a file of any format: targets of show_and_fool (default: what "
        "the captioner says of the other photographs)",
    )
    add("--count", type=at_least_one, help="attack so many of the photographs, drawn by --seed")
    add("--seed", type=int, default=0, help="of photographs and targets (default 0)")
    add("--batch-size", type=at_least_one, default=8, help="photographs at once (default 8)")


def checked_options(options: argparse.Namespace) -> tuple[dict[str, Attack], list[float]]:
    """Attacks by what they were called, and epsilons.

    Raises:
      ValueError: what `named_attack` raises, or an epsilon that is no number of levels.
    """
    attacks = {text: named_attack(text) for text in options.attacks.split(",") if text}
    try:
        epsilons = sorted({float(text) for text in options.epsilons.split(",") if text})
    except ValueError:
        epsilons = []
    if not epsilons or not all(0 <= epsilon <= 255 for epsilon in epsilons):
        raise ValueError(f"got --epsilons={options.epsilons}; expected levels from 0 to 255")
    if not attacks:
        raise ValueError(f"got no attack; choose from: {', '.join(ATTACKS)}")
    return attacks, epsilons


def measure(
    options: argparse.Namespace, captioner: Captioner, tell: Callable[[str], None]
) -> tuple[Fooled, dict[str, Any]]:
    """Attacks the photographs; (success, all of it as plain JSON values).

    Args:
      options: of the command line.
      captioner: that is attacked.
      tell: takes a line on what is done, and on what is left out.

    Raises:
      ValueError: what options, photographs or captions say.
    """
    attacks, epsilons = checked_options(options)
    files, images, targets = _material(options, captioner, tell)
    decoding, max_len = default_decoding(captioner)
    writing, size = Writing.of(captioner, decoding, max_len), captioner.at_once(options.batch_size)
    captions: list[Caption] = []
    for start in range(0, len(images), size):
        batch = _full(images[start : start + size], size)
        captions += caption_batch(captioner, batch, decoding=decoding, max_len=max_len)[1]
        captions = captions[: len(images)]
    own = [caption.tokens for caption in captions]
    draw = np.random.default_rng(options.seed)
    spoken = [captioner_tokens(captioner, targets[file]) for file in files]
    if not any(spoken):
        spoken = [[tokens] for tokens in own]
    aims = [aim_at(draw, row, spoken, own[row], max_len) for row in range(len(images))]
    fooled: dict[str, dict[float, list[bool]]] = {}
    records: dict[str, list[dict[str, Any]]] = {}
    for name, method in attacks.items():
        fooled[name], records[name] = {epsilon: [] for epsilon in epsilons}, []
        for start in range(0, len(images), size):
            rows = range(start, min(start + size, len(images)))
            goal = _goal(method, own, aims, [*rows, *[rows[-1]] * (size - len(rows))], max_len)
            batch = _full(images[start : start + size], size)
            found, runs = attack_at(captioner, method, writing, batch, goal, epsilons)
            for epsilon, values in found.items():
                fooled[name][epsilon] += [bool(value) for value in values[: len(rows)]]
            last = runs[max(runs)]
            aimed = aims if method.SEEKS_LEAST else [None] * len(aims)
            records[name] += [
                _record(captioner, files[row], captions[row], last, row - start, aimed[row])
                for row in rows
            ]
            tell(f"{name}: {rows[-1] + 1} of {len(images)} photographs")
    return fooled, {
        "model": options.model,
        "model_hash": captioner.hash,
        "epsilons": epsilons,
        "seed": options.seed,
        "success": success_table(fooled).to_json(),
        "pictures": records,
    }


def write(out: pathlib.Path, fooled: Fooled, results: Mapping[str, Any]) -> None:
    """Writes the table and all results into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    table, text = success_table(fooled), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    with replacing(out / TABLE) as stream:
        stream.write(text.getvalue().encode())
    with replacing(out / RESULTS) as stream:
        stream.write((json.dumps(results, indent=2, ensure_ascii=False) + "\n").encode())


def _material(
    options: argparse.Namespace, captioner: Captioner, tell: Callable[[str], None]
) -> tuple[list[str], np.ndarray, dict[str, Sequence[str]]]:
    """Files that can be read, their pictures, and what people say of them."""
    out = pathlib.Path(options.out)
    clips = captioner.preprocessing.frames > 0
    root, names = find_images(options.images, exclude=out, clips=clips, tell=tell)
    if options.count and options.count < len(names):
        chosen = np.random.default_rng(options.seed).permutation(len(names))[: options.count]
        names = [names[index] for index in sorted(chosen)]
    files, images = [], []
    for name in names:
        try:
            images.append(prepared(root / name, captioner.preprocessing)[0])
            files.append(name)
        except (UnreadableFileError, OSError) as error:
            tell(f"left out: {name}: {error}")
    if not files:
        raise ValueError("none of the pictures can be read")
    targets: dict[str, Sequence[str]] = {}
    if options.captions:
        targets = read_references(options.captions, root, files, tell=tell)
    return files, np.stack(images), {file: targets.get(file, ()) for file in files}


def captioner_tokens(captioner: Captioner, sentences: Sequence[str]) -> list[tuple[int, ...]]:
    """Those of some sentences that the captioner could write, as tokens."""
    found = []
    for sentence in sentences:
        try:
            found.append(sentence_tokens(captioner, sentence))
        except ValueError:
            continue  # it has a word that the captioner does not know
    return found


def aim_at(
    draw: np.random.Generator,
    row: int,
    spoken: Sequence[Sequence[tuple[int, ...]]],
    own: tuple[int, ...],
    longest: int,
) -> tuple[int, ...] | None:
    """What to make the captioner say of a photograph; None where nothing fits.

    Args:
      draw: decides which other photograph, and which of its sentences.
      row: of the photograph.
      spoken: sentences of every photograph.
      own: what the captioner says of this one by itself.
      longest: most tokens of a target.
    """
    for other in draw.permutation(len(spoken)):
        fitting = [one for one in spoken[other] if len(one) <= longest and one != own]
        if other != row and fitting:
            return fitting[int(draw.integers(len(fitting)))]
    return None


def _goal(
    method: Attack,
    own: Sequence[tuple[int, ...]],
    aims: Sequence[tuple[int, ...] | None],
    rows: Sequence[int],
    max_len: int,
) -> Goal:
    if not method.SEEKS_LEAST:
        return goal_of("untargeted", [own[row] for row in rows], max_len)
    wanted = [aims[row] for row in rows]
    if any(aim is None for aim in wanted):
        raise ValueError(
            "there is no caption of another photograph to aim at; give two photographs or more "
            "that the captioner describes differently, or other --captions"
        )
    # As wide as the longest target of all: reading each word costs as the encoder does.
    longest = max(len(aim) for aim in aims if aim is not None)
    return goal_of("caption", [aim for aim in wanted if aim is not None], longest)


def _full(images: np.ndarray, size: int) -> np.ndarray:
    """A batch of full size, so that all batches run in one program."""
    missing = size - len(images)
    return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])


def _record(
    captioner: Captioner,
    file: str,
    caption: Caption,
    found: Attacked,
    row: int,
    aim: Sequence[int] | None,
) -> dict[str, Any]:
    tokens = [int(token) for token in found.tokens[row][: int(found.lengths[row])]]
    text = captioner.text.decode(tokens)
    return {
        "file": file,
        "caption": caption.text,
        **({"target": captioner.text.decode(list(aim))} if aim else {}),
        "adversarial": text,
        "fooled": bool(found.success[row]),
        "loss": float(found.loss[row]),
        "largest_change": float(found.linf[row]),
        "root_mean_square_change": float(found.l2[row]),
        Distance().title: Distance()({file: (caption.text, text)})[file],
    }
