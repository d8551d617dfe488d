"""The page of a refinement, drawn from the rows that the hook kept of its iterations.

It is drawn while RELION waits, so in milliseconds; and whatever goes wrong with it costs nothing but the page.
"""

from __future__ import annotations

import logging
import math
import os
import zlib
from collections.abc import Mapping, Sequence

from cryobridge.schemas.codes import code_of
from cryobridge.schemas.iterations import FILE_NAME, MAX_BYTES, Row, parse
from cryobridge.schemas.messages import WrittenFile

from ..report.drawing import HEIGHT, WIDTH, Curve, over_iterations
from ..report.page import Drawing, Report, as_html

log = logging.getLogger(__name__)

_MOST_WARNINGS = 20
RAW_IS_THE_FIGURE = (
    "The figure to quote is that of the raw sums: RELION's half-maps as they came. No network has changed them, though "
    "their particles were aligned to corrected maps."
)


def history_page(descriptors: Mapping[str, int], iteration: int) -> WrittenFile | None:
    """Draw the page into `report_out` from `history_in`, of the rows up to an iteration; None where there is none."""
    history, page = descriptors.get("history_in"), descriptors.get("report_out")
    if history is None or page is None:
        return None
    try:
        if os.fstat(history).st_size > MAX_BYTES:
            return None
        rows = parse(os.pread(history, MAX_BYTES, 0).decode("utf-8", "replace"))
        rows = [row for row in rows if int(row["iteration"]) <= iteration]
        if not rows:
            return None
        data = as_html(report_of(rows)).encode("utf-8", "replace")
        os.ftruncate(page, 0)
        return WrittenFile(size=os.pwrite(page, data, 0), crc32=zlib.crc32(data))
    except Exception:  # the file is the user's to edit, and the map is made already
        log.warning("the page of the refinement could not be drawn", exc_info=True)
        return None


def report_of(rows: Sequence[Row]) -> Report:
    """What the page says of the rows, one per answered iteration."""
    corrected = [row for row in rows if row["map"] == "corrected"]
    failed = [row for row in rows if _is_failure(row)]
    last = rows[-1]["iteration"]
    return Report(
        title="Refinement with corrected half-maps",
        summary=f"Of {len(rows)} answers up to iteration {last}, {len(corrected)} were corrected maps and "
        f"{len(rows) - len(corrected)} RELION's own.",
        facts=_facts(rows, corrected),
        figures=[_resolutions(rows), _agreement(rows)],
        statements=[RAW_IS_THE_FIGURE, _of_corrected(corrected)],
        methods=(),
        warnings=[f"Iteration {row['iteration']}: RELION's own map, because {row['why']}" for row in failed][
            -_MOST_WARNINGS:
        ],
    )


def _facts(rows: Sequence[Row], corrected: Sequence[Row]) -> dict[str, str]:
    facts = {"Iterations": f"{rows[0]['iteration']} to {rows[-1]['iteration']}"}
    if corrected:
        facts["Corrected iterations"] = f"{corrected[0]['iteration']} to {corrected[-1]['iteration']}"
        facts["Mode"] = ", ".join(dict.fromkeys(row["mode"] for row in corrected if row["mode"])) or "not known"
        facts["Training steps"] = f"{sum(_by_iteration(corrected, 'steps').values()):.0f}"
        facts["Time of corrected iterations"] = f"{sum(_by_iteration(corrected, 'seconds').values()):.0f} s"
    facts["All rows"] = FILE_NAME
    return facts


def _resolutions(rows: Sequence[Row]) -> Drawing:
    curves = {
        "all directions": _by_iteration(rows, "resolution_A"),
        "best direction": _by_iteration(rows, "best_direction_A"),
        "worst direction": _by_iteration(rows, "worst_direction_A"),
    }
    reading = "Where RELION's half-maps stop agreeing (FSC 0.143), smaller is better; directions only where corrected."
    best, worst = _last(curves["best direction"]), _last(curves["worst direction"])
    if best is not None and worst is not None:
        reading += (
            f" The last corrected iteration reached {best:.1f} A in its best direction, {worst:.1f} A in its worst."
        )
    return Drawing("Resolution", over_iterations(curves, "resolution (A)"), WIDTH, HEIGHT, reading)


def _agreement(rows: Sequence[Row]) -> Drawing:
    curves = {
        "raw sums": _by_iteration(rows, "cone_fsc_raw_sums"),
        "corrected halves (no resolution)": _by_iteration(rows, "cone_fsc_corrected_halves"),
    }
    reading = (
        "Mean FSC of the two halves within 20 degrees of the worst direction. Raw sums is the figure to quote. "
        "Corrected halves agree on what the network filled in, too, so they lie too high: never a resolution."
    )
    raw = _last(curves["raw sums"])
    if raw is None:
        reading += " No iteration so far has these figures."
    else:
        reading += f" The raw sums of the last corrected iteration agree to {raw:.2f}."
    drawing = over_iterations(curves, "mean FSC in the worst cone", lowest=0.0)
    return Drawing("Agreement where the map is measured worst", drawing, WIDTH, HEIGHT, reading)


def _of_corrected(corrected: Sequence[Row]) -> str:
    """Why corrected halves agree too well, as they were made."""
    if not corrected:
        return "No half-map of this refinement has been corrected so far."
    apart = all(row["halves_apart"] == "yes" for row in corrected)
    whose = (
        "Each half was trained on its own particles, but halves share one network's training before that"
        if apart
        else "One network saw both halves"
    )
    return f"{whose}; so the FSC of corrected halves is too high where the map is measured badly: never a resolution."


def _is_failure(row: Row) -> bool:
    """Whether a correction was wanted and could not be had; codes of another version count as failures."""
    return row["map"] != "corrected" and code_of(row["code"]).is_failure


def _by_iteration(rows: Sequence[Row], column: str) -> Curve:
    found: dict[int, float] = {}
    for row in rows:
        try:
            value = float(row[column])
        except ValueError:
            continue
        if math.isfinite(value):
            found[int(row["iteration"])] = value
    return found


def _last(curve: Curve) -> float | None:
    return curve[max(curve)] if curve else None
