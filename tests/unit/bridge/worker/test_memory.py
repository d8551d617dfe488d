"""Out of memory is told from other errors, and what was freed goes back to the machine."""

from __future__ import annotations

import ctypes
import errno
import subprocess
import sys

import pytest
import torch

from cryobridge.bridge.worker.memory import is_out_of_memory

FREED = """
import sys
import psutil
import torch
from cryobridge.bridge.worker.memory import give_back

process = psutil.Process()
before = process.memory_info().rss
pieces = [torch.zeros(1000) for _ in range(30_000)]
taken = process.memory_info().rss - before
# The last piece keeps all below it in the process's heap, as what lives on does.
last = pieces[-1]
del pieces
if "give back" in sys.argv:
    give_back(torch.device("cpu"))
print(taken, process.memory_info().rss - before, *last.shape)
"""


def test_memory_errors_are_told_from_others() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert is_out_of_memory(ImportError("_c_utils.so: failed to map segment from shared object"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ImportError("No module named 'x'"))
    assert not is_out_of_memory(OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library gives memory back by itself")
def test_what_was_freed_in_small_pieces_goes_back_to_the_machine() -> None:
    taken, kept = freed("give back")
    assert taken > 100e6
    assert kept < taken / 4
    taken, kept = freed("keep")
    assert kept > taken / 2


def freed(what: str) -> tuple[int, int]:
    """Bytes that a process of its own took and kept: a heap that others have used before may take nothing new."""
    told = subprocess.run([sys.executable, "-c", FREED, what], capture_output=True, text=True, check=True, timeout=120)
    taken, kept, size = (int(word) for word in told.stdout.split())
    assert size == 1000
    return taken, kept
