"""What a command does once nobody reads its output, and that its options all say what they are."""

import argparse
import importlib
import subprocess
import sys

import pytest

from capjax.evaluate import __main__ as evaluate
from capjax.folder import run as explain_folder

PRINTS = """
import os, sys
from capjax.runtime.standard_streams import outlive_readers
outlive_readers()
for number in range(20_000):
    print(number, "\xe9" * 20, file=sys.{stream})
os.write({descriptor}, b"of a library")
open(sys.argv[1], "w").write("done")
"""
COMMANDS = {
    "explain": explain_folder.main,
    "evaluate": evaluate.main,
    **{
        name: importlib.import_module(f"capjax.{name}").main
        for name in (
            *("data.__main__", "weights.__main__", "experiment.table", "viz.curves"),
            *("data.scenes.__main__", "data.scenes.moving"),
        )
    },
}


def left_alone(program, *arguments, stream="stdout"):
    """The exit code and the other stream of a program whose reader leaves after one line."""
    other = "stderr" if stream == "stdout" else "stdout"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, *program, *arguments], **pipes) as process:
        first = getattr(process, stream).readline()
        getattr(process, stream).close()
        said = getattr(process, other).read()
    return process.returncode, first, said


@pytest.mark.parametrize(("stream", "descriptor"), [("stdout", 1), ("stderr", 2)])
def test_the_work_goes_on_after_the_reader_left(tmp_path, stream, descriptor):
    program = PRINTS.format(stream=stream, descriptor=descriptor)
    code, first, said = left_alone(["-c", program], str(tmp_path / "file"), stream=stream)
    assert (code, said) == (0, b"") and first.startswith(b"0 ")
    assert (tmp_path / "file").read_text() == "done"


def test_a_command_whose_reader_left_ends_well():
    code, first, said = left_alone(["-u", "-m", "capjax.data", "where"])
    assert (code, said) == (0, b"") and first


class _SeenError(Exception):
    pass


@pytest.mark.parametrize("main", COMMANDS.values(), ids=COMMANDS)
def test_every_option_has_a_help_text(monkeypatch, main):
    def seen(parser, *_):
        raise _SeenError(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", seen)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", seen)
    with pytest.raises(_SeenError) as caught:
        main([])
    silent, parsers = [], [caught.value.args[0]]
    while parsers:
        parser = parsers.pop()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            elif not action.help:
                silent.append(f"{parser.prog}: {action.option_strings or action.dest}")
    assert not silent
