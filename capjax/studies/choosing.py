"""All studies by name, and their options on a command line.

A new study is a folder or a file of its own and one line here.
"""

from collections.abc import Mapping, Sequence

from capjax.explainers.choosing import described_options, with_options
from capjax.studies.adversarial.study import Adversarial
from capjax.studies.contract import Study, settings
from capjax.studies.counterfactual.study import Counterfactual
from capjax.studies.detection.instability import Instability

STUDIES: Mapping[str, Study] = {
    "adversarial": Adversarial(),
    "counterfactual": Counterfactual(),
    "instability": Instability(),
}
"""Name -> the study with its default options."""


def choose_studies(
    names: Sequence[str], options: Sequence[str]
) -> tuple[tuple[Study, ...], list[str]]:
    """The studies of a command line, and the options that are of none.

    Args:
      names: of `STUDIES`.
      options: as in "adversarial.epsilon=4", among those of methods.

    Raises:
      ValueError: an unknown study or option, a value that makes no sense, or an option of a study
        that is not among the names.
    """
    for name in names:
        if name not in STUDIES:
            raise ValueError(f"unknown study {name!r}; choose from: {', '.join(STUDIES)}")
    own: dict[str, list[str]] = {name: [] for name in names}
    others = []
    for text in options:
        name, _, option = text.partition(".")
        if name in own:
            own[name].append(option)
        elif name in STUDIES:
            raise ValueError(
                f"the option {text!r} is of a study that is not asked for; add --studies={name}, "
                "or leave the option out"
            )
        else:
            others.append(text)
    return tuple(with_options(STUDIES[name], own[name], name) for name in own), others


def described_studies() -> str:
    """All studies for people: options with their defaults and meaning, cost and source."""
    lines = []
    for name, study in STUDIES.items():
        facts = {"cost": study.COST, "source": study.SOURCE}
        lines += described_options(name, study, settings(study), facts)
    return "\n".join(lines)
