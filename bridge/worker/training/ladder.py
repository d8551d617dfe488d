"""Smaller attempts when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import torch

from cryobridge.schemas.correction import CorrectionOptions

from ..loop import Progress
from ..memory import give_back, is_out_of_memory

A = TypeVar("A")
T = TypeVar("T")


def within_memory(
    attempts: Sequence[A],
    make: Callable[[A, int], Generator[Progress | None, None, T]],
    device: torch.device,
    say: Callable[[str], None],
) -> Generator[Progress | None, None, T]:
    """Make something with the first of the attempts that memory is enough for.

    Parameters
    ----------
    attempts
        From the one that is wanted to the smallest.
    make
        Takes an attempt and its number, from 0 on.
    device
        Whose memory is given back between two attempts.
    say
        Takes a line for the log.

    Raises
    ------
    MemoryError, RuntimeError
        What the smallest attempt raised.
    """
    for number, attempt in enumerate(attempts):
        try:
            return (yield from make(attempt, number))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or number + 1 == len(attempts):
                raise
            say(f"out of memory, trying smaller batches: {error}")
        give_back(device)
        yield Progress("out of memory: trying again with smaller batches")
    raise AssertionError("unreachable: the last attempt returns or raises")


def smaller_attempts(options: CorrectionOptions) -> list[CorrectionOptions]:
    """The options as they are, then with single crops at a time, then with the smallest tiles as well."""
    single = options.model_copy(update={"acc_batches": options.batch})
    tiles = single.model_copy(update={"crop_size": max(32, options.cube_size)})
    return [options, single, tiles]
