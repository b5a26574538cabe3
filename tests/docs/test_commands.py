"""Commands of README and docs name files, flags, settings, extras and methods that there are."""

import contextlib
import functools
import importlib
import io
import re
import runpy
import shlex
import tomllib

import pytest

from capjax.explainers.choosing import choose
from tests.docs.pages import DOCS, README, ROOT, blocks, inline_code, lines_of, pages

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
SUBCOMMANDS = {
    "capjax.studies": 2,  # of which "concepts" has its own
    "capjax.data": 1,
    "capjax.weights": 1,
    "capjax.inpaint": 1,
    "capjax.evaluate.hallucination": 1,
}
"""Module -> how many words behind it may choose a parser."""
SHELLS = {"explain.py": "capjax.folder.run"}
NOT_METHODS = {"concepts"}
"""What `--methods` takes from a command's own additions."""


def commands(page):
    """(page, words) of every command of Python, make or pip."""
    text = page.read_text()
    written = [line for block in blocks(text, "bash") for line in lines_of(block)]
    written += [code for code in inline_code(text) if re.match(r"(python|make|pip) ", code)]
    for line in written:
        words = shlex.split(line, comments=True)
        while words and words[0] not in ("python", "make", "pip"):
            words = words[1:]  # srun …, ssh …
        if words:
            yield words


ALL = [
    pytest.param(words, id=f"{page.stem}: {' '.join(words)[:70]}")
    for page in pages()
    for words in commands(page)
]


@functools.cache
def help_of(module, *subcommands):
    """What a command says of itself."""
    told = io.StringIO()
    name = module
    with contextlib.suppress(ModuleNotFoundError):
        name = importlib.import_module(f"{module}.__main__").__name__
    main = importlib.import_module(name).main
    with contextlib.redirect_stdout(told), pytest.raises(SystemExit) as ended:
        main([*subcommands, "--help"])
    assert ended.value.code == 0, (module, subcommands)
    return told.getvalue()


@functools.cache
def settings_of(config):
    """The config that a file makes."""
    return runpy.run_path(str(ROOT / config))["get_config"]()


def flags(words):
    return [word.partition("=")[0] for word in words if re.match(r"--\w", word)]


def value(words, flag):
    return next((word.partition("=")[2] for word in words if word.startswith(f"{flag}=")), None)


@pytest.mark.parametrize("words", ALL)
def test_what_a_command_names_exists(words):
    program, *rest = words
    if program == "make":
        assert set(rest) <= {*TARGETS, "PYTHON=/path/to/python3.12"}, rest
    elif program == "pip":
        for extra in re.findall(r"\[([\w,]+)\]", " ".join(rest)):
            if rest[-1].startswith("."):
                assert set(extra.split(",")) <= set(EXTRAS), extra
    elif rest[0] == "-m":
        check_module(rest[1], rest[2:])
    elif rest[0] == "train.py":
        check_training(rest[1:])
    elif rest[0] in SHELLS:
        check_flags(help_of(SHELLS[rest[0]]), rest[1:])
    else:
        source = (ROOT / rest[0]).read_text()
        for flag in flags(rest[1:]):
            assert flag in source or flag[2:].replace("-", "_") in source, flag


def check_module(module, rest):
    if module in ("pytest", "sphinx"):
        return
    chosen = []
    for word in rest[: SUBCOMMANDS.get(module, 0)]:
        if not re.fullmatch(r"[a-z]+", word) or (chosen and chosen[0] != "concepts"):
            break
        chosen.append(word)
    check_flags(help_of(module, *chosen), rest[len(chosen) :])


def check_flags(told, rest):
    for flag in flags(rest):
        assert re.search(rf"{flag}\b", told), f"{flag} is not among the options"
    methods = value(rest, "--methods")
    if methods and methods not in ("all", "…"):
        choose([name for name in methods.split(",") if name not in NOT_METHODS])


def check_training(rest):
    config = value(rest, "--config")
    if config is None:
        return
    assert (ROOT / config).is_file(), config
    source = (ROOT / "train.py").read_text()
    for flag in flags(rest):
        if flag.startswith("--config."):
            found = settings_of(config)
            for name in flag.removeprefix("--config.").split("."):
                assert hasattr(found, name), f"{config} has no setting {flag}"
                found = getattr(found, name)
        elif flag not in ("--config",):
            assert f'"{flag[2:]}"' in source, flag


def test_commands_were_found():
    assert len(ALL) > 60
    assert any(words[:2] == ["python", "train.py"] for words in commands(README))


def test_configs_read_the_datasets_that_the_page_says():
    text = (DOCS / "data.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (`.*`) \|$", text, re.MULTILINE)
    assert len(rows) >= 8
    for dataset, configs in rows:
        for config in re.findall(r"`(\w+)`", configs):
            assert settings_of(f"configs/{config}.py").data.name == dataset, config
