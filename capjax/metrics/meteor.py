"""METEOR 1.5 through its Java program."""

import contextlib
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

MEMORY = "2G"
"""Java heap; the English paraphrase table alone takes more than half of it."""


class MeteorUnavailableError(Exception):
    """METEOR cannot be computed on this machine; the text says what is missing."""


class Meteor:
    """The Java program of METEOR: started at the first question, it answers until `close`.

    Its start takes nearly all of the time: 9 s of processor time to read its tables, against 0.2 s
    for the captions of 210 images. While it waits it holds 1.2 GB.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the program; another question starts it again."""
        process, self._process = self._process, None
        if process is not None:
            # Its end closes the pipes, which ends the program, and waits for it.
            with contextlib.suppress(BrokenPipeError), process:
                pass
        if self._errors is not None:
            self._errors.close()

    def scores(
        self, references: Sequence[Sequence[str]], hypotheses: Sequence[str]
    ) -> tuple[float, list[float]]:
        """Corpus METEOR and one score an image (Denkowski & Lavie 2014, English, `rank` task).

        Uses the jar of pycocoevalcap, whose EVAL answers one line a segment before the corpus
        score. The corpus score aggregates matches over images: it is not the mean of the segments'.

        Args:
          references: for each image its tokenised sentences.
          hypotheses: for each image one tokenised sentence.

        Raises:
          MeteorUnavailableError: no Java, no jar, or Java failed; never a replacement score.
        """
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        try:
            return _converse(process.stdin, process.stdout, references, hypotheses)
        except (OSError, EOFError, ValueError) as error:
            process.kill()
            assert self._errors is not None
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip() or str(error)
            self.close()
            raise MeteorUnavailableError(
                f"its Java program failed: {said.splitlines()[-1]}"
            ) from error
        except BaseException:  # in the middle of an answer
            process.kill()
            self.close()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()  # something ended it between two questions
        if self._process is None:
            command, folder = _command()
            self._errors = tempfile.TemporaryFile()
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    start_new_session=True,  # Ctrl-C is for this process, which decides about it
                )
            except OSError as error:
                self.close()
                raise MeteorUnavailableError(f"{command[0]} cannot be started: {error}") from error
        return self._process


def check_meteor() -> None:
    """Raises MeteorUnavailableError where METEOR cannot be computed on this machine."""
    _command()


def _command() -> tuple[list[str], Path]:
    java = shutil.which("java")
    if java is None:
        raise MeteorUnavailableError("needs Java, and no `java` is on the path; install a JRE")
    package = importlib.util.find_spec("pycocoevalcap.meteor")
    folders = (
        [Path(place) for place in (package.submodule_search_locations or ())] if package else []
    )
    for folder in folders:
        jar = folder / "meteor-1.5.jar"
        if jar.is_file():
            # Numbers and sentences look the same under every locale.
            settings = ["-Dfile.encoding=UTF-8", "-Duser.language=en", "-Duser.country=US"]
            arguments = ["-", "-", "-stdio", "-l", "en", "-norm"]
            return [java, *settings, f"-Xmx{MEMORY}", "-jar", str(jar), *arguments], folder
    raise MeteorUnavailableError("pycocoevalcap holds no meteor-1.5.jar; reinstall pycocoevalcap")


def _converse(
    stdin: IO[bytes],
    stdout: IO[bytes],
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[str],
) -> tuple[float, list[float]]:
    def ask(*fields: str) -> None:
        stdin.write((" ||| ".join(fields) + "\n").encode())
        stdin.flush()

    def answer() -> str:
        line = stdout.readline().decode().strip()
        if not line:
            raise EOFError("it stopped answering")
        return line

    statistics = []
    for own, hypothesis in zip(references, hypotheses, strict=True):
        ask("SCORE", *own, hypothesis)
        statistics.append(answer())
    ask("EVAL", *statistics)
    segments = [float(answer()) for _ in statistics]
    return float(answer()), segments
