"""Devices: chosen by UUID, as CUDA_VISIBLE_DEVICES leaves them; the CPU where there is none."""

from __future__ import annotations

import pytest

from cryobridge.bridge.gpus import Gpu
from cryobridge.bridge.pool.devices import task_devices, visible, worker_devices
from cryobridge.schemas.errors import InputInvalid, JobRejected

GPUS = [Gpu(index, f"GPU-{letter * 4}", "fake", 10**10, 10**10) for index, letter in enumerate("abc")]


def list_gpus() -> list[Gpu]:
    return GPUS


def names(gpus: list[Gpu]) -> str:
    return "".join(gpu.uuid[-1] for gpu in gpus)


@pytest.mark.parametrize(
    ("variable", "left"),
    [
        (None, "abc"),
        ("", ""),
        ("1", "b"),
        ("2,0", "ca"),
        ("GPU-bbbb,0", "ba"),
        ("GPU-c", "c"),
        ("GPU-", ""),
        ("0,-1,2", "a"),
        ("0,7,2", "a"),
        ("0,0", "a"),
        ("NoDevFiles", ""),
    ],
)
def test_visible_devices_follow_cudas_rules(variable: str | None, left: str) -> None:
    assert names(visible(GPUS, variable)) == left


def test_auto_takes_every_visible_gpu_else_the_cpu() -> None:
    assert worker_devices("auto", {}, list_gpus) == ["cuda:GPU-aaaa", "cuda:GPU-bbbb", "cuda:GPU-cccc"]
    assert worker_devices("auto", {"CUDA_VISIBLE_DEVICES": "2"}, list_gpus) == ["cuda:GPU-cccc"]
    assert worker_devices("auto", {"CUDA_VISIBLE_DEVICES": ""}, list_gpus) == ["cpu"]
    assert worker_devices("auto", {}, list) == ["cpu"]


def test_named_devices_count_as_cuda_would_and_are_taken_once() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "2,0"}
    assert worker_devices(["cuda:0", "cpu", "cuda", "cuda:GPU-aaaa"], environment, list_gpus) == [
        "cuda:GPU-cccc",
        "cpu",
        "cuda:GPU-aaaa",
    ]


def test_a_device_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(InputInvalid, match=r"no cuda:5 here; there is: cpu, cuda:0 \(fake\)"):
        worker_devices(["cuda:5"], {}, list_gpus)


def test_the_cpu_alone_asks_no_driver() -> None:
    def asked() -> list[Gpu]:
        raise AssertionError("the driver was asked")

    assert worker_devices(["cpu"], {}, asked) == ["cpu"]


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        ("auto", None),
        ("cpu", {"cpu"}),
        ("gpu", {"cuda:GPU-aaaa", "cuda:GPU-bbbb"}),
        ("1", {"cuda:GPU-bbbb"}),
        ("0:1", {"cuda:GPU-aaaa", "cuda:GPU-bbbb"}),
        ("GPU-aaaa,7", {"cuda:GPU-aaaa"}),
    ],
)
def test_a_job_may_name_its_devices(wanted: str, allowed: set[str] | None) -> None:
    assert task_devices(wanted, ["cpu", "cuda:GPU-aaaa", "cuda:GPU-bbbb"]) == allowed


@pytest.mark.parametrize("wanted", ["gpu", "0", "GPU-aaaa"])
def test_a_job_for_a_device_without_a_worker_is_refused_rather_than_kept_for_ever(wanted: str) -> None:
    with pytest.raises(JobRejected, match="workers for cpu only"):
        task_devices(wanted, ["cpu"])
