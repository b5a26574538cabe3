"""Which methods, with which options: by name, as text, or as objects.

    gradcam                      a method of `METHODS` with its default options
    ig@steps=16                  the same with another option; its results are labelled so
    IntegratedGradients(steps=16)
    gradcam@measure=logit        any method, to explain another scalar than it does by itself
    smoothgrad@method=ig+steps=16        a method around a method with options of its own

Every answer of a run has a label of its own. Two settings of one method keep apart because the
options that differ from the defaults are part of their labels.
"""

import collections
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from capjax.explainers.contract import Measure, Method, settings
from capjax.explainers.methods import METHODS

Wanted = str | Method
Optioned = TypeVar("Optioned")
"""A frozen dataclass whose fields are options."""
SEPARATOR = "@"
MEASURE_OPTION = "measure"
"""What is given like an option of any method, and is part of what is asked."""
INNER = "+"
"""Before each option of a method that is itself an option."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """One method of a run.

    Attributes:
      method: with its options.
      suffix: what its answers' labels have behind the name: "" or "@steps=16".
      asked: the measure to explain; None: the method's own.
    """

    method: Method
    suffix: str = ""
    asked: Measure | None = None

    @property
    def measure(self) -> Measure | None:
        """What its maps explain; None of a method that explains no scalar."""
        own = self.method.MEASURE
        return own and (self.asked or own)

    def measure_of(self, name: str) -> Measure | None:
        """What the maps of one of its answers explain."""
        return None if name in self.method.UNMEASURED else self.measure

    @property
    def labels(self) -> dict[str, str]:
        """Name of each answer -> label."""
        return {name: name + self.suffix for name in self.method.answers}

    @property
    def settings(self) -> dict[str, Any]:
        """The options that decide its maps, as plain JSON values."""
        adding = _adding(self.method)
        return {name: value for name, value in settings(self.method).items() if name not in adding}


def choose(
    wanted: Wanted | Iterable[Wanted],
    options: Sequence[str] = (),
    measure: Measure | None = None,
) -> tuple[Chosen, ...]:
    """The methods that are wanted, each once, in order.

    Args:
      wanted: names of `METHODS`, names with options as in "ig@steps=16", or methods.
      options: as in "ig.steps=16", for the methods of that name that are wanted by it alone.
      measure: for the methods whose options say nothing of it; default: each method's own.

    Raises:
      ValueError: none at all, an unknown name, option or measure, a value of another type, or an
        option for a method that is not wanted.
    """
    _check_measure(measure)
    several = [wanted] if isinstance(wanted, (str, Method)) else list(wanted)
    if not several:
        raise ValueError(f"no method given; choose from: {', '.join(METHODS)}")
    given = _by_method(options)
    found: list[Chosen] = []
    for one in several:
        if isinstance(one, Method):
            found.append(Chosen(one, asked=measure))
        elif isinstance(one, str):
            name, *own = one.split(SEPARATOR)
            texts = own or given.pop(name, [])
            method = with_options(_known(name), [o for o in texts if not _is_measure(o)], name)
            asked = _own_measure(method, texts)
            suffix = _suffix(method, asked) if own else ""
            found.append(Chosen(method, suffix, asked or measure))
        else:
            raise ValueError(
                f"got the method {one!r}; expected a name such as 'gradcam', or a method such as "
                "capjax.explainers.GradCAM()"
            )
    if given:
        name = next(iter(given))
        raise ValueError(
            f"an option is set for {name!r}, which is not among the methods "
            f"{', '.join(map(str, several))}; add it, or leave the option out"
        )
    return _apart(found)


def _is_measure(text: str) -> bool:
    return text.partition("=")[0] == MEASURE_OPTION


def _own_measure(method: Method, texts: Iterable[str]) -> Measure | None:
    """The measure among the options of a method; None where there is none."""
    found = [text.partition("=")[2] for text in texts if _is_measure(text)]
    if not found:
        return None
    if method.MEASURE is None:
        raise ValueError(
            f"{method.NAME} explains no scalar, so that a measure has no effect on it; leave "
            f"{MEASURE_OPTION}={found[-1]} out"
        )
    return _check_measure(found[-1])


def _check_measure(measure: Any) -> Measure | None:
    """Raises ValueError for what is no measure."""
    if measure is not None and measure not in get_args(Measure):
        known = ", ".join(get_args(Measure))
        raise ValueError(f"got the measure {measure!r}; choose one of: {known}")
    return cast(Measure | None, measure)


def _suffix(method: Method, asked: Measure | None) -> str:
    """What tells a label from that of the method as it is by itself."""
    other = [] if asked in (None, method.MEASURE) else [f"{MEASURE_OPTION}={asked}"]
    return "".join(SEPARATOR + text for text in [*_differences(method), *other])


def with_options(method: Optioned, texts: Iterable[str], name: str) -> Optioned:
    """The method with options such as "steps=16"; or a study, or whatever has its options so.

    Raises:
      ValueError: an unknown option, or a value of another type; the text lists the options.
    """
    kinds = typing.get_type_hints(type(method))
    fields = {field.name: kinds[field.name] for field in dataclasses.fields(cast(Any, method))}
    values = {}
    for text in texts:
        option, equals, value = text.partition("=")
        if option not in fields or not equals:
            known = ", ".join(f"{key}={getattr(method, key)}" for key in fields) or "none"
            raise ValueError(
                f"{name} has no option {text!r}; give it as OPTION=VALUE; its options and their "
                f"defaults: {known}"
            )
        values[option] = _parsed(value, fields[option], f"{name}.{option}")
    return dataclasses.replace(cast(Any, method), **values)


def described() -> str:
    """All methods for people: options with their defaults and meaning, measure, cost and source."""
    lines = []
    for name, method in METHODS.items():
        scalar = Chosen(method).measure_of(name) or "none: it shows no scalar of the words"
        facts = {
            "measure": scalar,
            "contrasts": "yes" if method.CONTRASTS else "no",
            "cost": method.COST,
            "source": method.SOURCE,
        }
        lines += described_options(name, method, settings(method), facts)
    return "\n".join(lines)


def described_options(
    name: str, one: Any, values: Mapping[str, Any], facts: Mapping[str, str]
) -> list[str]:
    """Lines on one method, or on what else has its options so.

    Args:
      name: what people call it by.
      one: whose docstring says what it does and, under "Attributes", what each option means.
      values: of its options, as plain JSON values.
      facts: title -> text, below the options.
    """
    options = [f"{key}={value}: {told}" for key, value, told in documented_options(one, values)]
    parts = [("", " ".join((inspect.getdoc(type(one)) or "").partition("\n\n")[0].split()))]
    parts += [("options" if not at else " ", line) for at, line in enumerate(options or ["none"])]
    parts += facts.items()
    lines = [name]
    for title, part in parts:
        start = f"    {title.strip():11}" if title else "    "
        lines.append(textwrap.fill(part, 96, initial_indent=start, subsequent_indent=" " * 15))
    return lines


def documented_options(one: Any, values: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Of every option its name, its value as it is given, and what the docstring says of it."""
    told = _documented(inspect.getdoc(type(one)) or "")
    return [(key, _text(value), told.get(key, "")) for key, value in values.items()]


def _documented(text: str) -> dict[str, str]:
    """What a docstring says of each option, under "Attributes"."""
    found: dict[str, list[str]] = {}
    _, _, section = text.partition("\nAttributes:\n")
    for line in section.splitlines():
        head = re.match(r"  (\w+): (.*)", line)
        if head:
            found[head[1]] = [head[2]]
        elif found and line.strip():
            found[next(reversed(found))].append(line.strip())
    return {name: " ".join(lines) for name, lines in found.items()}


def _known(name: str) -> Method:
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; choose from: {', '.join(METHODS)}")
    return METHODS[name]


def _by_method(options: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in options:
        name, dot, option = text.partition(".")
        if not dot or "=" not in option:
            raise ValueError(
                f"got the option {text!r}; expected METHOD.OPTION=VALUE, such as ig.steps=64"
            )
        found.setdefault(name, []).append(option)
    return found


def _parsed(text: str, kind: Any, where: str) -> Any:
    """A value of an option's type."""
    if get_origin(kind) in (types.UnionType, typing.Union):
        if text == "none" and type(None) in get_args(kind):
            return None
        kind = next(one for one in get_args(kind) if one is not type(None))
    if inspect.isclass(kind) and issubclass(kind, Method):
        name, *options = text.split(INNER)
        return with_options(_known(name), options, where)
    if get_origin(kind) is tuple:
        one = get_args(kind)[0]
        return tuple(_parsed(part, one, where) for part in text.split(",") if part)
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            known = ", ".join(map(str, get_args(kind)))
            raise ValueError(f"got {where}={text}; choose one of: {known}")
        return text
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError) as error:
        expected = "true or false" if kind is bool else f"a value of type {kind.__name__}"
        raise ValueError(f"got {where}={text}; expected {expected}") from error


def _defaults(method: Method) -> Method | None:
    """The method of the same class with nothing set; None where something has to be."""
    missing = dataclasses.MISSING
    fields = dataclasses.fields(method)
    if any(field.default is missing and field.default_factory is missing for field in fields):
        return None
    return type(method)()


def _adding(method: Method) -> set[str]:
    """Options that add an answer and change none."""
    usual = _defaults(method)
    if usual is None:
        return set()
    return {
        field.name
        for field in dataclasses.fields(method)
        if (value := getattr(usual, field.name)) != getattr(method, field.name)
        and method.includes(dataclasses.replace(method, **{field.name: value}))
    }


def _differences(method: Method) -> list[str]:
    """The options that differ from the defaults, as text; those that only add an answer apart."""
    usual = _defaults(method)
    adding = _adding(method)
    return [
        f"{name}={_text(value)}"
        for name, value in settings(method).items()
        if name not in adding and (usual is None or settings(usual)[name] != value)
    ]


def _text(value: Any) -> str:
    """An option as it is given: of a method within a method its name and its own options."""
    if isinstance(value, dict):
        return INNER.join(
            _text(own) if name == "method" else f"{name}={_text(own)}"
            for name, own in value.items()
            if own != ""
        )
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _apart(found: Sequence[Chosen]) -> tuple[Chosen, ...]:
    """Without those whose answers another one gives, and no two answers of one label."""
    kept: list[Chosen] = []
    for index, one in enumerate(found):
        more = [other for other in found[index + 1 :] if other.method != one.method]
        if not any(
            (other.suffix, other.measure) == (one.suffix, one.measure)
            and other.method.includes(one.method)
            for other in [*kept, *more]
        ):
            kept.append(one)
    counts = collections.Counter(label for one in kept for label in one.labels.values())
    named = []
    for one in kept:
        if any(counts[label] > 1 for label in one.labels.values()) and not one.suffix:
            asked = one.asked if len({own.asked for own in kept}) > 1 else None
            one = dataclasses.replace(one, suffix=_suffix(one.method, asked))
        named.append(one)
    counts = collections.Counter(label for one in named for label in one.labels.values())
    twice = [label for label, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f"two methods answer by the name {twice[0]}; give each of them a NAME of its own"
        )
    return tuple(named)


def labels(chosen: Iterable[Chosen]) -> dict[str, Mapping[str, Any]]:
    """Label of every answer -> the settings it was made with, and what it explains."""
    return {
        label: {**one.settings, **({MEASURE_OPTION: measure} if measure else {})}
        for one in chosen
        for name, label in one.labels.items()
        for measure in [one.measure_of(name)]
    }
