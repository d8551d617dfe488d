"""Out of memory: telling it from other errors, and giving back what can be given."""

from __future__ import annotations

import ctypes
import errno
import gc
import resource

import torch

_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's; other C libraries have none."""
_CPU_ALLOCATOR = ("can't allocate memory", "not enough memory", "DefaultCPUAllocator")
_DYNAMIC_LINKER = ("failed to map segment", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that host or device memory ran out.

    torch reports the host's with a plain `RuntimeError`, and the dynamic linker with an `ImportError` or `OSError`, so
    texts have to be read.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if isinstance(error, ImportError | OSError):
        return any(words in str(error).lower() for words in _DYNAMIC_LINKER)
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_ALLOCATOR)


def peak_bytes(device: torch.device) -> tuple[int, int | None]:
    """The most memory that this process has held so far: on the host, and on a GPU (None on a CPU)."""
    # Linux counts in units of 1024 bytes.
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return host, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def give_back(device: torch.device) -> None:
    """Return what is not needed to device and machine: RELION takes all that is free in its next expectation step."""
    gc.collect()
    if _TRIM is not None:
        # What was freed in small pieces stays with the process otherwise.
        _TRIM(0)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
