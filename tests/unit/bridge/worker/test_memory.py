"""Out of memory is told from other errors, and what was freed goes back to the machine."""

from __future__ import annotations

import ctypes
import errno

import psutil
import pytest
import torch

from cryobridge.bridge.worker.memory import give_back, is_out_of_memory


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
    process = psutil.Process()
    before = process.memory_info().rss
    pieces = [torch.zeros(1000) for _ in range(30_000)]
    taken = process.memory_info().rss - before
    assert taken > 100e6
    # The last piece keeps all below it in the process's heap, as what lives on does.
    last = pieces[-1]
    del pieces
    give_back(torch.device("cpu"))
    assert process.memory_info().rss - before < taken / 4
    assert last.shape == (1000,)
