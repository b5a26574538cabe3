"""The instrument, on compiled programs that can be counted by hand (`compiled/make.py`)."""

import dataclasses
import importlib.util
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "benchmarks"))

from accelerator import gpu, kernels, tpu  # noqa: E402
from accelerator.collectives import Exchanged, exchanged  # noqa: E402
from accelerator.estimate import Estimate, buffers  # noqa: E402
from accelerator.hlo import Module  # noqa: E402
from accelerator.program import Program  # noqa: E402
from accelerator.targets import TARGETS  # noqa: E402
from accelerators import found_worse  # noqa: E402

PINNED = (HERE.parents[1] / "benchmarks" / "accelerators.txt").read_text()
traced = pytest.mark.skipif(
    f"jax=={jax.__version__.rpartition('.')[0]}." not in PINNED,
    reason="traced kernels look different in another jax than that of `make accelerators`",
)
READERS = {"v5e": tpu, "h200": gpu}
CHIPS = list(READERS)

_spec = importlib.util.spec_from_file_location("make", HERE / "compiled" / "make.py")
assert _spec and _spec.loader
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


def read(program, chip):
    return Module((HERE / "compiled" / f"{program}_{chip}.txt").read_text())


def costs(program, chip):
    return list(READERS[chip].costs(read(program, chip), TARGETS[chip]))


@pytest.mark.parametrize("chip", CHIPS)
def test_a_product_in_a_scan_takes_its_operations_at_peak(chip):
    product = 2 * make.SIDE**2 * make.INNER / TARGETS[chip].flops
    # XLA's GPU compiler copies each turn's weights out of the stack; the TPU's reads them there.
    copied = 2 * 2 * make.INNER * make.SIDE / TARGETS[chip].bandwidth if chip == "h200" else 0.0
    seconds = sum(cost.seconds for cost in costs("scanned_products", chip))
    assert seconds == pytest.approx(make.TURNS * (product + copied), rel=0.15)


def test_a_convolution_and_its_gradients_take_their_operations_at_peak():
    places, depth = math.prod(make.MAPS[:3]), make.MAPS[3]
    once = 2 * 9 * places * depth**2 / TARGETS["h200"].flops
    found = [cost.seconds for cost in costs("convolutions", "h200") if cost.bound == "products"]
    assert found == pytest.approx(3 * [once], rel=1e-6)


@pytest.mark.parametrize("chip", CHIPS)
def test_loops_are_counted_and_lines_are_named(chip):
    module = read("scanned_products", chip)
    dearest = max(costs("scanned_products", chip), key=lambda cost: cost.seconds)
    assert dearest.executed.times == make.TURNS
    source = (HERE / "compiled" / "make.py").read_text().splitlines()
    path, _, line = module.line(dearest.executed.instruction).split()[0].partition(":")
    assert path == "tests/benchmarks/compiled/make.py"
    assert "x @ w" in source[int(line) - 1]


def test_a_slice_that_is_updated_in_place_counts_as_a_slice():
    row = 4 * make.SIDE
    found = {cost.executed.instruction.name: cost for cost in costs("stacked_rows", "h200")}
    update = next(cost for name, cost in found.items() if "dynamic_update_slice" in name)
    assert update.executed.times == make.REGIONS
    # It reads a row and a counter, and writes a row: never all REGIONS rows.
    bytes_moved = update.seconds * TARGETS["h200"].bandwidth / make.REGIONS
    assert 2 * row <= bytes_moved <= 2 * row + 64


@pytest.mark.parametrize("chip", CHIPS)
def test_a_planted_copy_is_caught(chip):
    copies = 2 * make.IMAGES * make.REGIONS**2 * make.DEPTH
    size, kind, where = buffers(read("planted_copy", chip))[0]
    assert size == copies, kind
    assert where.startswith("tests/benchmarks/compiled/make.py")
    assert buffers(read("no_copy", chip))[0][0] <= copies / make.REGIONS


@pytest.mark.parametrize("chip", CHIPS)
def test_a_dearer_program_and_a_planted_copy_are_told(chip):
    def found(name):
        budget = 2 * 2 * make.IMAGES * make.REGIONS * make.DEPTH  # features twice
        program = Program(name, "", getattr(make, name), (), None, 0.0, budget)
        text = (HERE / "compiled" / f"{name}_{chip}.txt").read_text()
        read = tuple(costs(name, chip))
        return Estimate(program, TARGETS[chip], 1.0, 0, text, Module(text), read, ())

    (sentence,) = found_worse(found("planted_copy"), None)
    assert "planted_copy for" in sentence and "over its budget of 17 MB" in sentence
    fine = found("no_copy")
    now = fine.figures()["estimated_ms"]
    assert found_worse(fine, now / 1.04) == []
    (sentence,) = found_worse(fine, now / 1.06)
    assert "by estimate; it took" in sentence


@traced
def test_a_kernel_costs_what_its_arithmetic_costs():
    target = TARGETS["v5e"]
    products = 8 * make.TURNS * 2 * 256 * 512 * 128
    exponentials = 8 * make.TURNS * 256 * 128
    program = jax.make_jaxpr(make.kernel)(*make.PROGRAMS[make.kernel])
    (kernel,) = kernels.traced_kernels(program)
    assert kernel.products == products
    assert kernel.exponentials == exponentials
    # Blocks of rows and of results once each, the weights once: their block never changes.
    assert kernel.bytes(target) == 2 * 2048 * 512 + 2 * 512 * 128 + 4 * 2048 * 128
    module = read("kernel", "v5e")
    (cost,) = kernels.costs(module, target, program, tpu.is_kernel)
    # One of 1024 lanes a cycle an exponential, which hides behind the products.
    assert cost.bound == "products"
    assert cost.seconds == pytest.approx(1.15 * products / 197e12, rel=0.02)
    # At 73 of 4 x 1024 slots an exponential, and two additions, products take a tenth of that.
    slow = dataclasses.replace(target, kernel_exponentials=target.exponentials)
    seconds, bound = kernel.seconds(slow)
    assert bound == "vector"
    slots = (73 + 2) * exponentials / (4 * 1024)
    assert seconds == pytest.approx(1.15 * slots / 1.5e9, rel=0.02)
    assert cost.executed.instruction.name not in {
        one.executed.instruction.name for one in tpu.costs(module, target)
    }


@traced
def test_what_a_kernel_does_in_its_first_step_alone_is_counted_once_a_walk():
    def body(x, out):
        @pl.when(pl.program_id(1) == 0)
        def _begin():
            out[...] = jnp.exp(x[...])

        out[...] += x[...]

    def call(x):
        block = pl.BlockSpec((8, 128), lambda row, step: (row, 0))
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return pl.pallas_call(
            body, grid=(4, 5), in_specs=[block], out_specs=block, out_shape=shape, name="guarded"
        )(x)

    (kernel,) = kernels.traced_kernels(jax.make_jaxpr(call)(jnp.ones((32, 128))))
    assert kernel.exponentials == pytest.approx(4 * 8 * 128)
    assert kernel.blocks == ((4 * 8 * 128, 4, 4 * 32 * 128),) * 2


@traced
def test_a_kernel_that_nobody_traced_is_refused():
    with pytest.raises(ValueError, match="none of the traced kernels"):
        list(
            kernels.costs(
                read("kernel", "v5e"),
                TARGETS["v5e"],
                jax.make_jaxpr(lambda x: x + 1)(1.0),
                tpu.is_kernel,
            )
        )


def test_a_loop_without_end_needs_its_turns():
    text = (HERE / "compiled" / "stacked_rows_v5e.txt").read_text()
    endless = text.replace("direction=LT", "direction=NE")
    with pytest.raises(ValueError, match="give `turns`"):
        list(Module(endless).executed())
    times = {one.times for one in Module(endless, turns=7).executed()}
    assert times == {1, 7}


def test_exchanged_arrays_are_listed_by_kind_and_size():
    text = """
      %add.1 = f32[] add(f32[] %a, f32[] %b)
      %all-reduce.3 = (f32[4,5]{1,0:T(8,128)}, bf16[7]{0}) all-reduce(f32[4,5] %x, bf16[7] %y)
      %all-reduce-start = f32[]{:T(128)} all-reduce-start(f32[] %z), replica_groups={}
      %all-reduce-done = f32[] all-reduce-done(f32[] %all-reduce-start)
      %all-gather.1 = f32[16,2]{1,0} all-gather(f32[1,2] %w), dimensions={0}
    """
    found = exchanged(text)
    reduced = {("all-reduce", 20): 1, ("all-reduce", 7): 1, ("all-reduce", 1): 1}
    assert found == {**reduced, ("all-gather", 32): 1}
    assert Exchanged(found, 27).beyond_gradients() == ["all-gather of 32"]
    (sentence,) = Exchanged(type(found)(reduced), 26).beyond_gradients()
    assert sentence == "all-reduce of 27 numbers, and learns 26"
