"""The programs that are compiled for chips that are not there are those of `explain.py`."""

import argparse
import dataclasses
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))

import on_paper  # noqa: E402
from accelerator import gpu  # noqa: E402
from accelerator.estimate import Estimate  # noqa: E402
from accelerator.folder import folder_steps  # noqa: E402
from accelerator.hlo import Module  # noqa: E402
from accelerator.program import Program, size_of  # noqa: E402
from accelerator.targets import TARGETS  # noqa: E402

from capjax.decoding import Beam, captions  # noqa: E402
from capjax.explainers.batch import check_methods, prepared_net  # noqa: E402
from capjax.explainers.language.program import (  # noqa: E402
    Language,
    ask_language,
    unknown_token,
)
from capjax.explainers.programs import Asked, explain_targets  # noqa: E402
from tests.explainers.toys import attentive  # noqa: E402

IMAGES, TOKENS, MAX_LEN = 2, 5, 6


def steps_of(captioner, methods):
    return folder_steps(
        captioner,
        IMAGES,
        methods=methods,
        decoding=Beam(2),
        max_len=MAX_LEN,
        tokens=TOKENS,
        language=Language(),
    )


def text(lowered):
    """The program, whatever it is called."""
    return re.sub(r"module @\w+", "module", lowered.as_text())


def test_they_are_the_very_programs_of_a_run():
    captioner = attentive()
    methods = check_methods(captioner, ["attention", "gradcam", "caption_guided"])
    caption, explain, words = steps_of(captioner, methods)
    net = prepared_net(captioner.net, methods)
    pixels, mesh = captions.abstract_images(captioner, IMAGES)
    assert mesh is None
    arguments = captions._arguments(captioner, pixels, mesh, Beam(2), MAX_LEN, net)
    real = vars(captions._see_and_say)["compiled"]().lower(*arguments)

    def ours(step):
        return jax.jit(step.program.function).lower(*step.program.arguments)

    assert text(ours(caption)) == text(real)
    assert caption.fetched == size_of(real.out_info[1])
    assert caption.sent == size_of(pixels)
    features = captions.abstract_features(net, captioner.variables, pixels, mesh)
    asked = Asked.abstract(features, pixels, queries=1, targets=8, tokens=8)
    own, measures = zip(*((one.method, one.measure) for one in methods), strict=True)
    real = explain_targets.lower(net, own, captioner.variables, asked, mesh, measures)
    assert text(ours(explain)) == text(real)
    assert explain.fetched == size_of(real.out_info)
    about = net, Language(), unknown_token(captioner), captioner.variables, captioner.others
    assert text(ours(words)) == text(ask_language.lower(*about, asked, mesh))


def test_only_what_a_program_reads_is_sent():
    captioner = attentive()
    pixels = IMAGES * int(np.prod(captioner.preprocessing.size)) * 3
    sentences = 4 * IMAGES * (8 + 1 + 8 * 8 + 1)  # tokens, lengths, weights and seeds
    _, explain, _ = steps_of(captioner, check_methods(captioner, ["attention"]))
    assert explain.sent <= sentences
    _, explain, _ = steps_of(captioner, check_methods(captioner, ["occlusion"]))
    assert pixels < explain.sent <= pixels + sentences


def test_no_kernel_of_a_gpu_ends_before_the_next_can_be_started():
    compiled = (HERE / "compiled" / "stacked_rows_h200.txt").read_text()
    module, target = Module(compiled), TARGETS["h200"]
    program = Program("stacked_rows", "", jnp.sin, (), None, 0.0, 0.0)
    read = tuple(gpu.costs(module, target))
    found = Estimate(program, target, 1.0, 0, compiled, module, read, ())
    assert on_paper.with_starts(found, 0.0) == pytest.approx(found.seconds)
    assert on_paper.with_starts(found, 1000.0) == pytest.approx(1e-3 * found.started)
    other = dataclasses.replace(found, target=TARGETS["v5e"])
    assert on_paper.with_starts(other, 1000.0) == pytest.approx(found.seconds)


MEASURED = {
    "processor_seconds": {"decode": 0.01, "fetch": 0.002, "write": 0.03},
    "read_bytes": 1e5,
    "written_bytes": 4e5,
    "ready_seconds": 10.0,
}


def flags(**changed):
    given = {"batch": 50, "in_flight": 2, "part": 1000, "closing": 0.0, "recording": 0.0}
    given |= {"chips": [1, 4], "images": 40_000, "failures": 0.0, "start": 3.0}
    return argparse.Namespace(**given | changed)


def test_cores_that_keep_a_chip_busy_and_what_bounds_a_machine():
    # 500 images a second take 5 cores to read, 15 to write and 1 to take in.
    line = on_paper.line_of(MEASURED, flags(), 0.1, 25.0)
    assert (line.readers, line.writers) == (6, 18)
    wanted = {"cores_reading": 5, "cores_taking_in": 1, "cores_writing": 15, "cores_closing": 0}
    assert on_paper.cores(line, flags(), MEASURED) == pytest.approx(wanted)
    assert "bound by: device" in on_paper.bounds(line, flags(), MEASURED)
    # A file of 1,000 images takes 4 s to close: 250 images a second, and 2 cores at 500.
    slow = flags(closing=4.0)
    assert on_paper.cores(line, slow, MEASURED)["cores_closing"] == pytest.approx(2)
    assert "close 250; bound by: close" in on_paper.bounds(line, slow, MEASURED)
    # 21 of 25 cores; of 15, which are enough for 15 / 21 of 500 images.
    assert "enough for 595 images" in on_paper.machine(line, flags(), MEASURED, 25)
    assert "the chip bounds it" in on_paper.machine(line, flags(), MEASURED, 25)
    assert "enough for 357 images a second, the chip for 500: the cores bound it" in (
        on_paper.machine(line, flags(), MEASURED, 15)
    )
    few = on_paper.line_of(MEASURED, flags(), 0.1, 9.0)
    assert (few.readers, few.writers) == (2, 6)
    assert "bound by: read" in on_paper.bounds(few, flags(), MEASURED)
    assert "20 MB/s read, 80 MB/s written" in on_paper.bounds(few, flags(), MEASURED)


def test_a_table_of_runs_on_many_chips():
    line = on_paper.line_of(MEASURED, flags(), 0.1, 25.0)
    rows, rates = on_paper.fleet_rows(line, flags(), MEASURED)
    assert len(rows) == 3 and [*rates] == [1, 4]
    # 500 images a second and chip, once all is ready.
    assert 40_000 / rates[1] == pytest.approx(10 + 80, abs=1)
    assert 40_000 / rates[4] == pytest.approx(10 + 20, abs=1)


def test_where_no_compiler_is_it_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(on_paper.importlib.util, "find_spec", lambda name: None)
    for target in TARGETS.values():
        with pytest.raises(SystemExit, match="make accelerators"):
            on_paper.check_compiler(target)
