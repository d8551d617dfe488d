"""What is kept of each answered iteration beside the run: the rows of `<root>.cryobridge/iterations.csv`.

Standard library only: the hook writes the file, the worker draws a page from it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import Any, Final

from . import fields
from .frames import Record

FILE_NAME: Final = "iterations.csv"
PAGE_NAME: Final = "report.html"
MAX_BYTES: Final = 4 * 1024 * 1024
"""A refinement has tens of iterations; a file of this size is not one of ours."""
COLUMNS: Final = (
    "iteration",
    "reconstruction",
    "map",
    "resolution_A",
    "best_direction_A",
    "worst_direction_A",
    "cone_fsc_raw_sums",
    "cone_fsc_corrected_halves",
    "halves_apart",
    "mode",
    "steps",
    "seconds",
    "code",
    "why",
)
Row = dict[str, str]
_MAX_WHY = 400


class IterationFigures(Record):
    """What the worker measured of an iteration; None where it did not. Nothing here decides anything.

    Attributes
    ----------
    resolution_A
        Where the FSC of RELION's half-maps falls below the threshold.
    best_direction_A, worst_direction_A
        The same in single directions.
    cone_fsc_raw, cone_fsc_corrected
        Mean FSC of RELION's raw sums and of the corrected halves in the cone that is measured worst.
    halves_apart
        Whether each half was trained on its own particles only. One pre-trained network may still have filled both.
    """

    resolution_A: float | None = fields.figure(default=None)
    best_direction_A: float | None = fields.figure(default=None)
    worst_direction_A: float | None = fields.figure(default=None)
    cone_fsc_raw: float | None = fields.figure(default=None)
    cone_fsc_corrected: float | None = fields.figure(default=None)
    halves_apart: bool | None = fields.flag(default=None)
    mode: str = fields.line(default="", limit=32)
    steps: float | None = fields.figure(default=None)

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any]) -> IterationFigures:
        """Of a worker's metrics; what is missing or no number is left out."""
        apart = metrics.get("cone_fsc_independent")
        return cls(
            resolution_A=_finite(metrics.get("limit_resolution_A")),
            best_direction_A=_finite(metrics.get("best_direction_A")),
            worst_direction_A=_finite(metrics.get("worst_direction_A")),
            cone_fsc_raw=_finite(metrics.get("cone_fsc_raw")),
            cone_fsc_corrected=_finite(metrics.get("cone_fsc_corrected")),
            halves_apart=None if apart is None else bool(apart),
            mode=str(metrics.get("mode", ""))[:32],
            steps=_finite(metrics.get("steps")),
        )


def row(
    iteration: int,
    reconstruction: str,
    used: str,
    *,
    figures: IterationFigures,
    seconds: float,
    code: str,
    why: str,
) -> Row:
    """One row; `reconstruction` says which class or body it is, `used` which map RELION got."""
    apart = "" if figures.halves_apart is None else ("yes" if figures.halves_apart else "no")
    values = (
        str(iteration),
        reconstruction,
        used,
        _written(figures.resolution_A, 2),
        _written(figures.best_direction_A, 2),
        _written(figures.worst_direction_A, 2),
        _written(figures.cone_fsc_raw, 3),
        _written(figures.cone_fsc_corrected, 3),
        apart,
        figures.mode,
        _written(figures.steps, 0),
        _written(seconds, 1),
        code,
        _one_line(why),
    )
    return dict(zip(COLUMNS, values, strict=True))


def parse(text: str) -> list[Row]:
    """Read the rows of a file; lines that are none, of a damaged or edited file, are passed over."""
    try:
        found = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error:
        return []
    if not found or tuple(found[0]) != COLUMNS:
        return []
    rows = (dict(zip(COLUMNS, values, strict=True)) for values in found[1:] if len(values) == len(COLUMNS))
    return [one for one in rows if one["iteration"].isascii() and one["iteration"].isdigit()]


def with_row(rows: list[Row], new: Row) -> list[Row]:
    """The rows once an iteration has been answered.

    Rows of later iterations are of a run that went on before this one was continued from here, or began anew; they go.
    """
    now = int(new["iteration"])

    def stays(old: Row) -> bool:
        then = int(old["iteration"])
        return then < now or (then == now and old["reconstruction"] != new["reconstruction"])

    return [*(old for old in rows if stays(old)), new]


def as_text(rows: list[Row]) -> str:
    """The file's text."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([one[column] for column in COLUMNS] for one in rows)
    return text.getvalue()


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _written(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _one_line(text: str) -> str:
    """Without line breaks, and not to be taken for a formula by a spreadsheet."""
    clean = "".join(c if c.isprintable() else " " for c in text)[:_MAX_WHY].strip()
    return f"'{clean}" if clean[:1] in tuple("=+-@") else clean
