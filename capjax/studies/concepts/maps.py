"""Saved concepts as a method of explanation: how far each place goes in a concept's direction.

It is a method like any other, to be passed where methods are. What it was fitted for is a word, so
that it has something to say of that word alone; of other words its map is zero.

    concepts = [ConceptSet.read(path) for path in paths]
    capjax.explain(captioner, "dog.jpg", methods=[ConceptMaps.of(captioner, concepts), "gradcam"])
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from capjax.captioner import Captioner, CaptionNet
from capjax.explainers.cams.stage import StageMethod, stage_gradients
from capjax.explainers.contract import Maps
from capjax.explainers.request import Request
from capjax.explainers.targets import Questions
from capjax.studies.concepts.concept import ConceptSet

NOTHING = "its concepts are of {}: of other words the map is zero, and says nothing."


@dataclasses.dataclass(frozen=True)
class ConceptMaps(StageMethod):
    """The stage's activations, projected on concept vectors of the words that a target says.

    The vectors are read from `vectors`, which are no option: `digest` stands for them wherever
    settings are compared. Make one with `of`.

    Attributes:
      stage: of the vectors.
      words: that have concepts, with commas.
      digest: of the concepts.
      number: 0: the mean of a word's concepts that speak for it (TCAV above ½), or of all where
        none does; n: its n-th concept alone.
      masked: keep only places where the word's log-probability rises in the direction.
      vectors: [W D], one a word.
      forms: of each word, its tokens.
    """

    NAME = "concepts"
    COST = "one pass forward; with masked also one backward per word"
    SOURCE = "Ghorbani et al. 2019; Kim et al. 2018, equation 1, at every place"
    CONTRASTS = False

    words: str = dataclasses.field(kw_only=True)
    digest: str = dataclasses.field(kw_only=True)
    number: int = 0
    masked: bool = False
    vectors: dataclasses.InitVar[np.ndarray | None] = None
    forms: dataclasses.InitVar[tuple[tuple[tuple[int, ...], ...], ...]] = ()

    def __post_init__(
        self, vectors: np.ndarray | None, forms: tuple[tuple[tuple[int, ...], ...], ...]
    ) -> None:
        if vectors is None or len(vectors) != len(self.words.split(",")):
            raise ValueError(
                "ConceptMaps needs a vector for each of its words; make one with "
                "ConceptMaps.of(captioner, [ConceptSet.read(path)])"
            )
        object.__setattr__(self, "_vectors", np.asarray(vectors, np.float32))
        object.__setattr__(self, "_forms", forms)

    @classmethod
    def of(
        cls,
        captioner: Captioner,
        concepts: Sequence[ConceptSet],
        *,
        number: int = 0,
        masked: bool = False,
    ) -> "ConceptMaps":
        """The method of one word's concepts, or of several words'.

        Raises:
          ValueError: no concepts, of another model, of several stages, or twice of one word; a word
            with none that is significant, or with fewer than `number`.
        """
        stages = {one.stage for one in concepts}
        words = tuple(one.word for one in concepts)
        if len(stages) != 1 or len(set(words)) != len(words):
            raise ValueError(
                f"got concepts of the words {', '.join(words) or 'none'} at the stages "
                f"{', '.join(map(repr, sorted(stages))) or 'none'}; give one file a word, all of "
                "one stage"
            )
        for one in concepts:
            one.check(captioner)
        asked = Questions.of(captioner.text, keywords=words)
        return cls(
            stage=stages.pop(),
            words=",".join(words),
            digest=".".join(one.digest[:16] for one in concepts),
            number=number,
            masked=masked,
            vectors=np.stack([_direction(one, number) for one in concepts]),
            forms=tuple(asked.forms[word] for word in words),
        )

    @property
    def answers(self) -> tuple[str, ...]:
        """`concepts`, or `concept_n`."""
        return (f"concept_{self.number}" if self.number else self.NAME,)

    def speaks_of(self, tokens: Sequence[int]) -> bool:
        """Of the words that have concepts alone."""
        return any(tuple(tokens) in forms for forms in self._forms)  # type: ignore[attr-defined]

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Which words it is about, where others were explained."""
        own = self.words.split(",")
        return [NOTHING.format(", ".join(own))] if set(words) - set(own) else []

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Maps of every sentence; a target that says two of the words has the sum of both."""
        seen = self.activations(request)
        vectors = jnp.asarray(self._vectors)  # type: ignore[attr-defined]
        places = jnp.einsum("bfpd,wd->bwfp", seen.values, vectors, precision="highest")
        said = self._said(request)  # [B Q N W]
        if not self.masked:
            found = jnp.einsum("bqnw,bwfp->bqnfp", said, places, precision="highest")
            return seen.answered(self.answers[0], found)

        def rising(gradients: Float[Array, "B F P D"]) -> Float[Array, "B W F P"]:
            along = jnp.einsum("bfpd,wd->bwfp", gradients, vectors, precision="highest")
            return jnp.where(along > 0, places, 0.0)

        each = stage_gradients(self.stage, net, variables, request, rising)  # [B Q N W F P]
        found = jnp.einsum("bqnw,bqnwfp->bqnfp", said, each, precision="highest")
        return seen.answered(self.answers[0], found)

    def _said(self, request: Request) -> Float[Array, "B Q N W"]:
        """1 where a target is about any token of a word, in any of its forms."""
        found = []
        for forms in self._forms:  # type: ignore[attr-defined]
            here = jnp.zeros(request.tokens.shape, bool)
            for form in forms:
                whole = jnp.ones(request.tokens.shape, bool)
                for at, token in enumerate(form):
                    whole &= jnp.roll(request.tokens, -at, axis=-1) == token
                for at in range(len(form)):
                    here |= jnp.roll(whole, at, axis=-1)
            found.append(jnp.any((request.used > 0) & here[:, :, None], axis=-1))
        return jnp.stack(found, axis=-1).astype(jnp.float32)


def _direction(concepts: ConceptSet, number: int) -> Float[np.ndarray, " D"]:
    kept = concepts.kept
    if len(kept) < max(number, 1):
        raise ValueError(
            f"{concepts.word!r} has {len(kept)} significant concepts at p <= "
            f"{concepts.significance}; "
            + (f"there is no number {number}" if kept else "there is nothing to show: fit it anew")
        )
    if number:
        return kept[number - 1].vector
    speaking = [one.vector for one in kept if one.tcav > 0.5] or [one.vector for one in kept]
    total = np.mean(speaking, axis=0)
    return total / max(float(np.linalg.norm(total)), 1e-12)
