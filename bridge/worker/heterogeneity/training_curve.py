"""The learning curve that a training left, as panels of a figure."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded

TRAINING = "training.csv"
_MOST_BYTES = 1 << 24
_LEFT_OUT = ("epoch", "step", "seconds")


@dataclass(frozen=True)
class TrainingCurve:
    """Losses by epoch: a panel for each, since they are on scales of their own."""

    epochs: list[float]
    panels: dict[str, dict[str, NDArray[np.float64]]]


def training_panels(run: Path) -> TrainingCurve | None:
    """The curve of a run's folder; None where there is none, or it is no table with several epochs."""
    if not (run / TRAINING).is_file():
        return None
    try:
        rows = list(csv.DictReader(io.StringIO(read_bounded(run / TRAINING, _MOST_BYTES))))
        epochs = [float(row["epoch"]) for row in rows]
        columns = {
            name: np.array([float(row[name]) if row[name] else np.nan for row in rows])
            for name in (rows[0] if rows else {})
            if name not in _LEFT_OUT
        }
    except (InputInvalid, csv.Error, ValueError, KeyError, TypeError):
        return None
    panels = {name: {name: values} for name, values in columns.items() if np.isfinite(values).any()}
    return TrainingCurve(epochs, panels) if panels and len(epochs) > 1 else None
