"""Rates, the wait for data and traces of a run."""

import dataclasses
import re
import threading
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.train import throughput
from capjax.train.arithmetic import count_flops
from capjax.train.profiling import parse_span
from capjax.train.records import read_metrics
from capjax.train.throughput import Cost, DeviceClock, Meter, Rates
from tests.train.toy import BATCH, ToyRun, batches, compiled_step, initial_state, make_batch


def test_a_batch_that_is_late_while_the_devices_work_costs_nothing():
    """The host waits from 0 to 10; the devices get ready at 4, or not at all."""
    clock = DeviceClock()
    assert clock.idle(0.0, 10.0) == 10.0  # nothing was given to them yet
    done = threading.Event()

    class Working:
        def block_until_ready(self):
            assert done.wait(10)

    begin = time.perf_counter()
    clock.watch(Working())
    assert clock.idle(begin, time.perf_counter()) == 0.0
    done.set()
    clock.close()
    clock._thread.shutdown(wait=True)
    ready = time.perf_counter()
    assert clock.idle(ready, ready + 10) == 10.0
    assert 10 <= clock.idle(begin, ready + 10) < 10 + ready - begin
    assert clock.idle(begin, begin) == 0.0


def rates(costs, seconds, **options):
    return Rates(2 * jax.devices()[:1], **options).of(costs, seconds)


def test_rates():
    costs = [Cost(8, 0.5, 6e12), Cost(8, 1.0, 2e12)]
    found = rates(costs, 4.0, peak_teraflops=5.0)
    assert found == {
        "captions_per_second": 4.0,
        "data_wait": 0.375,
        "teraflops_per_device": 1.0,
        "mfu": 0.2,
    }


def test_what_is_not_known_is_not_written():
    assert set(rates([Cost(8, 0.5, 6e12)], 4.0)) == {
        *("captions_per_second", "data_wait", "teraflops_per_device")
    }
    assert set(rates([Cost(8, 0.5, None)], 4.0)) == {"captions_per_second", "data_wait"}


def test_the_complaint_comes_once_and_only_for_a_lasting_wait():
    found = Rates(jax.devices(), peak_teraflops=0)

    def window(waited, seconds=throughput.WARN_SECONDS):
        found.of([Cost(8, waited, None)], seconds)
        return found.complaint()

    assert window(20.0) is None  # compilation is in it
    assert window(3.0, seconds=5.0) is None  # too short to tell
    assert window(0.0) is None  # and it ended: what follows is judged by itself
    assert "for 75% of the last 20 s the devices had nothing to do" in window(15.0)
    assert window(20.0) is None


@pytest.mark.parametrize(
    ("situation", "helps"),
    [
        ({"cached": True}, {"cache", "workers"}),
        ({"encodes": True}, {"keep_megabytes", "resizer", "workers"}),
        ({}, {"cache_features", "keep_megabytes", "resizer", "workers"}),
    ],
)
def test_the_complaint_names_only_what_can_help(situation, helps):
    found = Rates(jax.devices(), peak_teraflops=0)
    for _ in range(2):  # the first one compiles
        found.of([Cost(8, 15.0, None, **situation)], throughput.WARN_SECONDS)
    complaint = found.complaint()
    assert set(re.findall(r"--config\.data\.(\w+)=", complaint)) == helps


def test_the_meter_sees_what_a_batch_holds():
    meter = Meter(lambda state, batch: None, examples=8)
    state = initial_state(8)  # trains its encoder
    cost = meter.cost(state, make_batch(0), since=time.perf_counter())
    assert (cost.cached, cost.encodes) == (False, True)
    frozen = dataclasses.replace(state, params={"decoder": {}}, frozen={"encoder": {}})
    cost = meter.cost(frozen, {"features": np.zeros(1)}, since=time.perf_counter())
    assert (cost.cached, cost.encodes) == (True, False)
    meter.close()


def test_a_run_logs_its_arithmetic_its_waits_and_a_trace(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(throughput, "WARN_SECONDS", 0.01)

    def slow(position):
        for batch in batches(position):
            time.sleep(0.05)
            yield batch

    run = ToyRun(tmp_path, batches=slow, peak_teraflops=0.5, profile="3:2")
    run.run()
    flops = count_flops(compiled_step(8, 1).trace(initial_state(8), make_batch(0)).jaxpr)
    for record in read_metrics(tmp_path / "metrics.jsonl"):
        expected = flops / BATCH * record["captions_per_second"]
        assert record["teraflops_per_device"] == pytest.approx(expected / 1e12, rel=1e-3)
        assert record["mfu"] == pytest.approx(expected / 0.5e12, rel=1e-3)
        assert 0 < record["data_wait"] <= 1
    said = capfd.readouterr().err
    assert said.count("loading data is the bottleneck") == 1
    assert f"profile of 2 updates: {tmp_path / 'profile'}" in said
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


class State(NamedTuple):
    """As much of a training state as is asked for."""

    params: dict
    frozen: dict


def test_counting_adds_no_trace(tmp_path):
    traces = 0

    @jax.jit
    def step(state, batch):
        nonlocal traces
        traces += 1
        return batch["x"] @ state.params["decoder"]

    meter = throughput.Meter(step, examples=4)
    state, batch = State({"decoder": jnp.ones((3,))}, {}), {"x": jnp.ones((4, 3))}
    for _ in range(2):
        assert meter.cost(state, batch, since=0.0).flops == 24
        step(state, batch)
    assert traces == 1
    meter.close()


@pytest.mark.parametrize("text", ["10", "10:0", ":5", "a:b", "3:-1"])
def test_a_span_that_means_nothing_is_refused(text):
    with pytest.raises(ValueError, match=r"expected START:COUNT.*e\.g\. 10:5"):
        parse_span(text)
    assert parse_span("") == (0, 0)
    assert parse_span("10:5") == (10, 5)
