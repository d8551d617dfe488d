"""Training networks, whatever they learn: batches, steps, averages, ranks, records. This package knows no maps."""

from .gradients import runner
from .learned import STEPS, Learned
from .learner import Learner
from .parking import DeviceMover, Held, Mover, Parking
from .ranks import ALONE, Ranks, check_divides, share_of
from .record import TrainingRecord
from .seeds import Order, generator_at, initialised_from
from .task import Batch, Network, TrainingTask, members_of, samples_in
from .trainer import StepReport, Trainer

__all__ = [
    "ALONE",
    "STEPS",
    "Batch",
    "DeviceMover",
    "Held",
    "Learned",
    "Learner",
    "Mover",
    "Network",
    "Order",
    "Parking",
    "Ranks",
    "StepReport",
    "Trainer",
    "TrainingRecord",
    "TrainingTask",
    "check_divides",
    "generator_at",
    "initialised_from",
    "members_of",
    "runner",
    "samples_in",
    "share_of",
]
