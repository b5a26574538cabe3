"""--engine=ray|hosts says what it needs and what it does not take, before anything is read."""

import sys

import pytest

from capjax.folder.engines.options import RayOptions, chosen_engine
from capjax.folder.options import make_parser
from capjax.runtime.distributed import Place

FIXED = ["--model=m", "--images=i", "--out=o"]


def chosen(*options):
    return chosen_engine(make_parser().parse_args([*FIXED, *options]))


@pytest.fixture
def installed(monkeypatch):
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))


def test_the_local_engine_needs_nothing():
    assert chosen() is None
    assert chosen("--studies=sensitivity", "--batch-size=auto") is None


def test_what_is_asked_of_the_cluster(installed):
    assert chosen("--engine=ray") == RayOptions()
    given = ["--ray-address=auto", "--workers=3", "--gpus-per-worker=0.5", "--memory=2"]
    asked = chosen("--engine=ray", *given, "--cpus-per-worker=4")
    assert asked == RayOptions("auto", 3, 0.5, 4, 2e9)


def test_ray_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'capjax\[ray\]'"):
        chosen("--engine=ray")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--estimate", "--estimate"),
        ("--warm-up", "--warm-up"),
        ("--profile=trace", "--profile"),
        ("--studies=sensitivity", "afterwards: it goes on with this --out"),
        ("--batch-size=auto", "give a number"),
    ],
)
@pytest.mark.parametrize("engine", ["--engine=ray", "--engine=hosts"])
def test_what_it_does_not_take(installed, engine, option, said):
    with pytest.raises(ValueError, match=f"{engine} does not take") as raised:
        chosen(engine, option)
    assert said in str(raised.value)


@pytest.mark.parametrize("option", ["--workers=2", "--ray-address=auto", "--gpus-per-worker=1"])
def test_options_of_ray_alone_would_change_nothing(option):
    with pytest.raises(ValueError, match="would have no effect: it is of --engine=ray"):
        chosen(option)


def test_the_place_among_hosts():
    assert chosen("--engine=hosts") == Place()
    given = "--coordinator=a:1", "--processes=2", "--process=0"
    assert chosen("--engine=hosts", *given) == Place("a:1", 2, 0)
    for option in given:
        for engine in ([], ["--engine=ray"]):
            with pytest.raises(ValueError, match="would have no effect: it is of --engine=hosts"):
                chosen(option, *engine)
    with pytest.raises(ValueError, match="would have no effect: it is of --engine=ray"):
        chosen("--engine=hosts", "--workers=2")


@pytest.mark.parametrize("value", ["1.5", "-1", "many"])
def test_parts_of_a_gpu_are_less_than_one(value, capsys):
    with pytest.raises(SystemExit):
        chosen(f"--gpus-per-worker={value}")
    assert value in capsys.readouterr().err
