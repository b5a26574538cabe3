"""What is asked of Ray, and what its actors answer, without a cluster."""

import pickle

import pytest

from capjax.folder.engines.options import ClusterError, RayOptions
from capjax.runtime.memory import TooLargeError

pytest.importorskip("ray", reason="Ray is not installed: pip install 'capjax[ray]'")
from capjax.folder.engines import ray_data  # noqa: E402


@pytest.fixture
def machines(monkeypatch):
    """Two with GPUs, one without, one that is gone."""
    resources = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 3.0, "GPU": 4.0}, {"CPU": 8.0}, {"CPU": 64.0}]
    found = [{"Alive": number < 3, "Resources": own} for number, own in enumerate(resources)]
    monkeypatch.setattr(ray_data.ray, "nodes", lambda: found)


@pytest.mark.parametrize(
    ("asked", "workers", "gpus"),
    [
        (RayOptions(), 2 + 3, 1),
        (RayOptions(gpus=0.5), 4 + 3, 0.5),
        (RayOptions(gpus=0.5, cpus=2), 4 + 1, 0.5),
        (RayOptions(gpus=2), 1 + 2, 2),
        (RayOptions(gpus=0), 16 + 3 + 8, 0),
        (RayOptions(gpus=0, cpus=4), 4 + 0 + 2, 0),
        (RayOptions(gpus=8, workers=3), 3, 8),
    ],
)
def test_there_are_as_many_workers_as_fit_on_whole_machines(machines, asked, workers, gpus):
    needs = ray_data._needs(asked)
    assert (needs.workers, needs.gpus, needs.cpus) == (workers, gpus, asked.cpus)


def test_a_cluster_without_room_is_told(machines):
    with pytest.raises(ClusterError, match="no machine of the cluster has 1 core and 8 GPUs"):
        ray_data._needs(RayOptions(gpus=8))


def test_a_core_is_shared_by_a_worker_and_what_reads_for_it(machines):
    needs = ray_data._needs(RayOptions(gpus=0, cpus=2))
    assert needs.explaining["num_cpus"] + needs.reading["num_cpus"] == 2
    set_there = needs.environment(explains=True)["env_vars"]
    assert (set_there["NPROC"], set_there["JAX_PLATFORMS"]) == ("2", "cpu")


def test_processes_that_share_a_gpu_share_its_memory(machines):
    needs = ray_data._needs(RayOptions(gpus=0.25))
    assert needs.explaining == {"num_cpus": 1, "num_gpus": 0.25}
    set_there = needs.environment(explains=True)["env_vars"]
    assert float(set_there["XLA_PYTHON_CLIENT_MEM_FRACTION"]) * 4 <= 1
    assert set_there["JAX_PLATFORMS"] == ""
    assert needs.environment(explains=False)["env_vars"]["JAX_PLATFORMS"] == "cpu"
    whole = ray_data._needs(RayOptions(gpus=1)).environment(explains=True)["env_vars"]
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in whole


def test_what_is_wrong_with_a_machine_is_an_answer(monkeypatch):
    class Refusing:
        def __init__(self, sent, **_):
            if sent:
                raise ClusterError(sent)

        def explain(self, part, images):
            raise TooLargeError(f"{part} of {images}")

    monkeypatch.setattr(ray_data, "Worker", Refusing)
    monkeypatch.setattr(ray_data, "keep_programs", lambda: None)
    monkeypatch.setattr(ray_data.ray, "get", lambda reference: reference)
    row = {"images": pickle.dumps(("a part", "images"))}
    for sent, kind, said in (
        ("other versions", ClusterError, "other versions"),
        ("", TooLargeError, "a part of images"),
    ):
        actor = ray_data._Explain([sent], gpu=False, memory=None)
        made = pickle.loads(actor(row)["made"])
        assert type(made) is kind and str(made) == said
