"""The question which small change of a picture changes its caption."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from capjax.explainers.programs import Watch
from capjax.serve.asking.served import Models, Served
from capjax.serve.limits import Limits
from capjax.serve.uploads import Upload
from capjax.studies.adversarial.goals import Kind
from capjax.studies.adversarial.study import Adversarial

Attack = Literal["pgd", "fgsm"]
"""Attacks of bounded cost; show_and_fool, of thousands of steps, is for explain.py."""


@dataclasses.dataclass(frozen=True)
class Fooling:
    """The adversarial picture of each picture, what is said of it, and the change, magnified.

    Attributes:
      model: who is asked.
      attack, goal, words, epsilon: as of `Adversarial`.
      viewed: whether the answer has the page's view of it too.
    """

    model: str
    attack: Attack = "pgd"
    goal: Kind = "untargeted"
    words: str = ""
    epsilon: float = 8.0
    viewed: bool = False

    quick = False

    @property
    def study(self) -> Adversarial:
        """One picture at a time, at one epsilon.

        Raises:
          ValueError: a goal that needs words, or takes none.
        """
        return Adversarial(
            attack=self.attack,
            goal=self.goal,
            words=self.words,
            epsilon=self.epsilon,
            epsilons=(self.epsilon,),
            methods="",
            at_once=1,
        )

    def check(self, model: Served, limits: Limits) -> None:
        """Raises ValueError for words that the captioner does not know, or too many of them."""
        self.study.check(model.captioner)

    def run(self, models: Models, uploads: Sequence[Upload], watch: Watch) -> list[dict[str, Any]]:
        """See `worker.Asked`."""
        model = models[self.model]
        # Of a goal the number of words is a shape.
        model.programs.used((self.model, self.attack, self.goal, len(self.words.split(","))))
        return model.findings(self.study, uploads, watch, viewed=self.viewed)
