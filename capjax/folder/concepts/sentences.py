"""Which pictures say a word: in the captioner's captions, which are kept, or in people's."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from capjax.api import pad_batch
from capjax.captioner import Captioner
from capjax.data.pictures.given import prepared
from capjax.data.pictures.images import UnreadableFileError
from capjax.decoding import default_decoding
from capjax.decoding.captions import caption_batch
from capjax.decoding.rules import describe
from capjax.explainers.targets import Questions
from capjax.explainers.wording import Wording, without_phrases
from capjax.runtime.files import counted, listed, printable, replacing
from capjax.types import Caption

FILE = "captions.json"
_EVERY = 8
"""Batches between two times that captions are written to disk."""


def predicted(
    captioner: Captioner, root: Path, files: Sequence[str], kept: Path, *, at_once: int
) -> tuple[dict[str, list[Wording]], list[str]]:
    """The captioner's sentence of each file, and a remark on files that cannot be read.

    Captions of earlier runs are read from `kept`; a file of another size is captioned again.

    Raises:
      ValueError: the captions there are another model's, or were written by another decoding.
    """
    decoding, max_len = default_decoding(captioner)
    origin = {"model": captioner.hash, "decoding": describe(decoding, max_len)}
    known: dict[str, Any] = {}
    if kept.exists():
        there = json.loads(kept.read_text())
        if there["made_from"] != origin:
            raise ValueError(
                f"{kept} holds captions of the model {there['made_from']['model'][:12]}, and this "
                f"one is {captioner.hash[:12]}; give another --out, or that model"
            )
        known = there["captions"]
    sizes = {file: (root / file).stat().st_size for file in files}
    due = [file for file in files if known.get(file, {}).get("bytes") != sizes[file]]

    def write() -> None:
        with replacing(kept) as stream:
            stream.write(json.dumps({"made_from": origin, "captions": known}).encode())

    with tqdm(total=len(due), desc="captions", unit="image", disable=None) as progress:
        for number, (names, pictures) in enumerate(_readable(captioner, root, due, at_once)):
            captions: list[Caption] = []
            if pictures:
                batch = pad_batch(pictures, at_once)
                _, captions = caption_batch(captioner, batch, decoding=decoding, max_len=max_len)
            written = dict(zip((name for name, seen in names if seen), captions, strict=False))
            for name, _ in names:
                tokens = list(written[name].tokens) if name in written else None
                known[name] = {"bytes": sizes[name], "tokens": tokens}
            progress.update(len(names))
            if number % _EVERY == _EVERY - 1:
                write()
    if due:
        write()
    found: dict[str, list[Wording]] = {}
    for file in files:
        if (tokens := known[file]["tokens"]) is not None:
            words, spans = captioner.text.spans(tokens)
            found[file] = [Wording(tuple(tokens), tuple(words), tuple(spans))]
    broken = [file for file in files if file not in found]
    remark = f"{counted(len(broken), 'picture')} cannot be read: {listed(broken)}"
    return found, [remark] if broken else []


def _readable(
    captioner: Captioner, root: Path, files: Sequence[str], at_once: int
) -> Iterator[tuple[list[tuple[str, bool]], list[np.ndarray]]]:
    """(name, whether it could be read) of each file of a batch, and the pictures that could."""
    for start in range(0, len(files), at_once):
        names, pictures = [], []
        for file in files[start : start + at_once]:
            try:
                pictures.append(prepared(root / file, captioner.preprocessing)[0])
            except UnreadableFileError:
                names.append((file, False))
            else:
                names.append((file, True))
        yield names, pictures


def by_people(
    captioner: Captioner, references: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[Wording]], list[str]]:
    """People's sentences of each file, as the captioner reads them, and a remark on what is no
    sentence. A file without any is left out: nothing is known of what it shows."""
    found: dict[str, list[Wording]] = {}
    empty: list[str] = []
    for file, captions in references.items():
        for text in captions:
            try:
                sentence = Wording.of_query(captioner, without_phrases(text))
            except ValueError:  # not one word, or none that the captioner knows
                empty.append(f"{printable(file)}: {text!r}")
            else:
                found.setdefault(file, []).append(sentence)
    remark = f"{counted(len(empty), 'caption')} without words left out: {listed(empty, most=3)}"
    return found, [remark] if empty else []


def divided(
    captioner: Captioner, word: str, sentences: Mapping[str, Sequence[Wording]]
) -> tuple[dict[str, Wording], list[str]]:
    """The first sentence of each picture that says the word, asked about it; and the other files.

    Raises:
      ValueError: the captioner does not know the word.
    """
    asked = Questions.of(captioner.text, keywords=[word])
    saying: dict[str, Wording] = {}
    for file, own in sentences.items():
        found = next((one for one in (own.asked(asked) for own in own) if one.extras), None)
        if found is not None:
            saying[file] = found
    return saying, [file for file in sentences if file not in saying]
