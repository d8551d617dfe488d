"""Training a network, whatever it learns: this package knows no maps."""

from .ranks import ALONE, Alone, Ranks, check_divides, share_of
from .record import TrainingRecord

__all__ = [
    "ALONE",
    "Alone",
    "Ranks",
    "TrainingRecord",
    "check_divides",
    "share_of",
]
