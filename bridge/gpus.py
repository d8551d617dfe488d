"""The GPUs of this machine by NVIDIA's management library, without importing torch; none where there is no driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """One GPU, named so that renumbering by a scheduler does not matter.

    `free_bytes` is what no program, ours or another's, had taken when it was read.
    """

    index: int
    uuid: str
    name: str
    total_bytes: int
    free_bytes: int


ListGpus = Callable[[], list[Gpu]]


def nvidia_gpus() -> list[Gpu]:
    """All GPUs of this machine; empty where there is no driver, or no nvidia-ml-py."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            found.append(
                Gpu(
                    index,
                    _text(pynvml.nvmlDeviceGetUUID(handle)),
                    _text(pynvml.nvmlDeviceGetName(handle)),
                    total_bytes=int(memory.total),
                    free_bytes=int(memory.free),
                )
            )
        return found
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
