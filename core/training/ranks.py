"""Several processes that train one network together: what a training asks of them.

Each has the same task and the same state, takes its share of every batch, and agrees with the others on the mean
gradient. How they talk is not known here.
"""

from __future__ import annotations

from typing import Final, Protocol

from torch import Tensor


class Ranks(Protocol):
    """The processes of a training, as one of them sees them."""

    @property
    def index(self) -> int:
        """Which one this is, from 0."""

    @property
    def count(self) -> int:
        """How many there are."""

    def mean_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over all ranks, in place; every rank calls it with the same shapes.

        All ranks end with bitwise the same values, so that decisions taken on them are the same everywhere.
        """


class Alone:
    """One process: the ranks of a training that is not divided."""

    index = 0
    count = 1

    def mean_(self, tensors: list[Tensor]) -> None:
        """The mean over one is what is there."""


ALONE: Final = Alone()


def share_of(count: int, ranks: Ranks) -> slice:
    """Which of `count` things are this rank's: every `ranks.count`-th from its own index on."""
    return slice(ranks.index, count, ranks.count)


def check_divides(batch: int, ranks: Ranks) -> None:
    """Raise ValueError unless every rank gets as many samples of a batch as the others."""
    if batch % ranks.count:
        raise ValueError(
            f"a batch of {batch} samples cannot be shared evenly by {ranks.count} processes; "
            f"choose a batch that is a multiple of {ranks.count}"
        )
