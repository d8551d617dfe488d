"""GPUs are read from NVIDIA's library, and where there is none there are none."""

from __future__ import annotations

import pynvml
import pytest

from cryobridge.bridge.gpus import Gpu, nvidia_gpus


def test_asking_the_real_driver_gives_uuids_or_nothing() -> None:
    assert all(gpu.uuid.startswith("GPU-") and gpu.total_bytes > 0 for gpu in nvidia_gpus())


def test_no_driver_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    assert nvidia_gpus() == []


def test_gpus_are_read_from_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    memory = type("Memory", (), {"free": 5, "total": 9})()
    for name, answer in {
        "nvmlInit": None,
        "nvmlDeviceGetCount": 2,
        "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetName": "H200",
        "nvmlDeviceGetUUID": "GPU-1",
    }.items():
        monkeypatch.setattr(pynvml, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: closed.append(True))
    assert nvidia_gpus() == [Gpu(index, "GPU-1", "H200", total_bytes=9, free_bytes=5) for index in range(2)]
    assert closed == [True]
