"""What was found of a word, as it is kept: one safetensors file with its origin as JSON inside."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from capjax.captioner import Captioner
from capjax.runtime.files import printable, replacing

KIND = "capjax concepts"
FORMAT = f"{KIND} 2"
EXAMPLES = 8
"""Patches of a concept that are kept to be shown, the closest to its centre first."""
_KEY = "capjax"


class OtherFormatError(ValueError):
    """A file of concepts that another version of capjax wrote."""


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A patch of a concept.

    Attributes:
      file: its picture, below the folder of pictures.
      mask: where it lies in the prepared picture.
    """

    file: str
    mask: Bool[np.ndarray, "H W"]


@dataclasses.dataclass(frozen=True, eq=False)
class Concept:
    """A cluster of patches that was tested.

    Attributes:
      vector: its direction at the stage, of length 1.
      scores: TCAV score of its vector against each random set.
      accuracy: of the classifiers, on what they did not learn from; the mean.
      paired, placed: p, see `vectors.Significance`.
      adjusted: `placed`, for as many concepts as were tested; see `vectors.for_many`.
      members: patches of the cluster.
      pictures: that they come from.
      examples: at most `EXAMPLES`.
    """

    vector: Float[np.ndarray, " D"]
    scores: Float[np.ndarray, " K"]
    accuracy: float
    paired: float
    placed: float
    adjusted: float
    members: int
    pictures: int
    examples: tuple[Example, ...]

    @property
    def tcav(self) -> float:
        """The mean score."""
        return float(np.mean(self.scores))

    @property
    def error(self) -> float:
        """Standard error of the mean over random sets."""
        return float(np.std(self.scores, ddof=1) / np.sqrt(len(self.scores)))

    @property
    def p(self) -> float:
        """Of what is significant, both tests say so: the larger of the two, for many concepts."""
        return max(self.paired, self.adjusted)


@dataclasses.dataclass(frozen=True, eq=False)
class ConceptSet:
    """All that was tested for a word: those that mean something first, by how far from ½.

    Attributes:
      word: whose log-probability was explained.
      stage: of the encoder; "" is the map that the decoder reads.
      concepts: every cluster that was common enough.
      significance: a concept with a larger p means nothing.
      random: [R] mean TCAV scores of random concepts.
      made_from: digests and settings; plain JSON values.
    """

    word: str
    stage: str
    concepts: tuple[Concept, ...]
    significance: float
    random: Float[np.ndarray, " R"]
    made_from: Mapping[str, Any]

    @property
    def kept(self) -> tuple[Concept, ...]:
        """Those that are significant."""
        return tuple(one for one in self.concepts if one.p <= self.significance)

    @property
    def least(self) -> float:
        """The smallest p that one concept alone of these can have, with so few random ones."""
        return 2 * len(self.concepts) / (len(self.random) + 1)

    @property
    def digest(self) -> str:
        """Of all that its maps depend on."""
        digest = hashlib.sha256(json.dumps([self.word, self.stage]).encode())
        for one in self.kept:
            digest.update(np.ascontiguousarray(one.vector, np.float32).data)
        return digest.hexdigest()

    def check(self, captioner: Captioner) -> None:
        """Raises ValueError where the vectors are of another model."""
        made = self.made_from.get("model")
        if made != captioner.hash:
            raise ValueError(
                f"the concepts of {self.word!r} are directions in the model {str(made)[:12]}, and "
                f"this one is {captioner.hash[:12]}; give that model, or fit again"
            )

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        arrays: dict[str, np.ndarray] = {"random": np.asarray(self.random, np.float32)}
        entries = []
        for number, one in enumerate(self.concepts):
            masks = np.stack([example.mask for example in one.examples])
            arrays[f"{number}.vector"] = np.ascontiguousarray(one.vector, np.float32)
            arrays[f"{number}.scores"] = np.ascontiguousarray(one.scores, np.float32)
            arrays[f"{number}.masks"] = np.packbits(masks, axis=-1)
            plain = ("accuracy", "paired", "placed", "adjusted", "members", "pictures")
            entry: dict[str, Any] = {name: getattr(one, name) for name in plain}
            entry |= {"files": [example.file for example in one.examples]}
            entries.append(entry | {"size": list(masks.shape[1:])})
        about = {
            "format": FORMAT,
            "word": self.word,
            "stage": self.stage,
            "significance": self.significance,
            "made_from": dict(self.made_from),
            "concepts": entries,
        }
        with replacing(path) as stream:
            stream.write(save(arrays, {_KEY: json.dumps(about, ensure_ascii=False)}))

    @classmethod
    def read(cls, path: Path) -> "ConceptSet":
        """The inverse of `save`.

        Raises:
          FileNotFoundError: there is no such file.
          OtherFormatError: another version wrote it.
          ValueError: it is no file of concepts.
        """
        try:
            with safe_open(path, "numpy") as file:
                about = json.loads((file.metadata() or {}).get(_KEY, "{}"))
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(
                f"{printable(path)} is no file of concepts ({error}); give one that "
                "`python -m capjax.studies concepts fit` wrote"
            ) from error
        if (found := about.get("format")) != FORMAT:
            kind = OtherFormatError if str(found).startswith(f"{KIND} ") else ValueError
            raise kind(
                f"{printable(path)} says it is {found!r}; expected {FORMAT!r}; give one that this "
                "version's `python -m capjax.studies concepts fit` wrote"
            )
        concepts = []
        for number, entry in enumerate(about["concepts"]):
            files, width = entry.pop("files"), entry.pop("size")[1]
            masks = np.unpackbits(arrays[f"{number}.masks"], axis=-1, count=width).astype(bool)
            examples = tuple(map(Example, files, masks))
            own = {name: arrays[f"{number}.{name}"] for name in ("vector", "scores")}
            concepts.append(Concept(**own, **entry, examples=examples))
        given = {name: about[name] for name in ("word", "stage", "significance", "made_from")}
        return cls(**given, concepts=tuple(concepts), random=arrays["random"])
