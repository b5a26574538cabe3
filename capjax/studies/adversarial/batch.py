"""Attacks on a batch of pictures on the host: goals from sentences, success against epsilon."""

import zlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Bool, UInt8

from capjax.captioner import Captioner
from capjax.decoding.rules import default_decoding
from capjax.ops.devices import mesh_of, pad_rows
from capjax.studies.adversarial.attack import Attack, Attacked, Writing, attack
from capjax.studies.adversarial.balls import LEVELS
from capjax.studies.adversarial.goals import Goal, Kind
from capjax.studies.adversarial.pictures import full
from capjax.types import NO_TOKEN

SLACK = 1e-3
"""Levels: sizes are computed in float32."""


def sentence_tokens(captioner: Captioner, sentence: str) -> tuple[int, ...]:
    """The tokens of a sentence that the captioner could write, end token included.

    Raises:
      ValueError: no word, or one that the captioner does not know.
    """
    tokens = tuple(captioner.text.encode(sentence))
    unknown = captioner.text.unk != captioner.text.eos and captioner.text.unk in tokens
    if len(tokens) < 2 or unknown:
        raise ValueError(
            f"the captioner cannot write {sentence!r}; give a sentence of words of its vocabulary"
        )
    return tokens


def keyword_tokens(captioner: Captioner, words: Sequence[str]) -> tuple[int, ...]:
    """The token of each keyword.

    Raises:
      ValueError: no keyword, or one that is not one token of the captioner.
    """
    found = []
    for word in words:
        tokens = sentence_tokens(captioner, word)[:-1]
        if len(tokens) != 1:
            raise ValueError(
                f"the keyword {word!r} takes {len(tokens)} tokens of this captioner; keywords of "
                "one token can be sought: choose another, or a whole sentence as the goal"
            )
        found.append(tokens[0])
    if not found:
        raise ValueError("got no keyword; give one or more, with commas")
    return tuple(found)


def goal_of(
    kind: Kind,
    captions: Sequence[Sequence[int]],
    longest: int,
    keywords: Sequence[int] = (),
) -> Goal:
    """The goal of a batch.

    Args:
      kind: see `Kind`.
      captions: tokens of each picture's target, for "caption"; else of its own caption.
      longest: the most tokens of a caption.
      keywords: the same for all pictures.

    Raises:
      ValueError: a caption longer than the captioner writes; what `Goal.of` raises.
    """
    lengths = np.array([len(tokens) for tokens in captions], np.int32)
    if lengths.max(initial=0) > longest:
        raise ValueError(
            f"a target has {lengths.max()} tokens and the captioner writes at most {longest}; "
            "choose a shorter one"
        )
    tokens = np.zeros((len(captions), longest), np.int32)
    for row, own in zip(tokens, captions, strict=True):
        row[: len(own)] = own
    if kind in ("untargeted", "caption"):
        return Goal.of(kind, tokens, lengths)
    words = np.full((len(captions), max(1, len(keywords))), NO_TOKEN, np.int32)
    words[:, : len(keywords)] = keywords
    return Goal.of(kind, tokens, lengths, words)


def attack_batch(
    captioner: Captioner,
    method: Attack,
    writing: Writing,
    images: UInt8[np.ndarray, "B *F H W 3"],
    goal: Goal,
    epsilon: float,
) -> Attacked:
    """What an attack makes of prepared pictures, on the host.

    All devices of this process share them. Random starts come from a picture's pixels alone.

    Args:
      captioner, method, writing, images, goal: see `attack`.
      epsilon: in levels of 255.
    """
    count, mesh = len(images), mesh_of(len(images))
    seeds = np.array([zlib.crc32(image.tobytes()) for image in images], np.uint32)
    padded = jax.tree.map(lambda leaf: pad_rows(np.asarray(leaf), mesh), (images, goal, seeds))
    images, goal, seeds = padded
    keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(0), seed))(seeds)
    epsilons = np.full(len(images), epsilon / LEVELS, np.float32)
    variables = captioner.placed(mesh)
    found = attack(captioner.net, method, writing, variables, images, goal, epsilons, keys, mesh)
    kept: Attacked = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], found)
    return kept


def attack_at(
    captioner: Captioner,
    method: Attack,
    writing: Writing,
    images: UInt8[np.ndarray, "B *F H W 3"],
    goal: Goal,
    epsilons: Sequence[float],
) -> tuple[dict[float, Bool[np.ndarray, " B"]], dict[float, Attacked]]:
    """Success within each epsilon, and the attacked pictures.

    One that seeks the least change runs once, within the largest ball: a picture counts from the
    epsilon on that its change lies within.

    Args:
      captioner, method, writing, images, goal: see `attack`.
      epsilons: in levels of 255.

    Returns:
      epsilon -> whether each picture was fooled; epsilon -> pictures, of the runs that were made.
    """
    given = captioner, method, writing, images, goal
    if method.SEEKS_LEAST:
        largest = max(epsilons)
        found = attack_batch(*given, largest)
        fooled = {e: np.asarray(found.success & (found.linf <= e + SLACK)) for e in epsilons}
        return fooled, {largest: found}
    runs = {epsilon: attack_batch(*given, epsilon) for epsilon in epsilons}
    return {epsilon: np.asarray(run.success) for epsilon, run in runs.items()}, runs


def attack_all(
    captioner: Captioner,
    method: Attack,
    images: UInt8[np.ndarray, "P *F H W 3"],
    own: Sequence[tuple[int, ...]],
    epsilons: Sequence[float],
    *,
    at_once: int,
    aims: Sequence[tuple[int, ...]] | None = None,
) -> Iterator[tuple[range, dict[float, Bool[np.ndarray, " B"]], dict[float, Attacked]]]:
    """Attacks any number of pictures, batch by batch in one program.

    Args:
      captioner, method: see `attack`.
      images: as the captioner sees them.
      own: tokens of what it says of each.
      epsilons: in levels of 255.
      at_once: pictures of a batch.
      aims: tokens of what to make it say of each; None: anything but its own caption.

    Yields:
      rows of `images`, then what `attack_at` gives of them.
    """
    decoding, max_len = default_decoding(captioner)
    writing = Writing.of(captioner, decoding, max_len)
    kind: Kind = "untargeted" if aims is None else "caption"
    captions = own if aims is None else aims
    # Targets are as wide as the longest of all: reading each word costs as the encoder does.
    longest = max_len if aims is None else max(map(len, aims))
    for start in range(0, len(images), at_once):
        rows = range(start, min(start + at_once, len(images)))
        filled = [*rows, *[rows[-1]] * (at_once - len(rows))]
        goal = goal_of(kind, [captions[row] for row in filled], longest)
        batch = full(images[start : start + at_once], at_once)
        fooled, runs = attack_at(captioner, method, writing, batch, goal, epsilons)
        kept = {epsilon: found[: len(rows)] for epsilon, found in fooled.items()}
        cut = {e: jax.tree.map(lambda leaf: leaf[: len(rows)], run) for e, run in runs.items()}  # noqa: B023
        yield rows, kept, cut


def said(captioner: Captioner, found: Attacked, row: int) -> str:
    """What the captioner says of an attacked picture."""
    return captioner.text.decode([int(t) for t in found.tokens[row][: int(found.lengths[row])]])
