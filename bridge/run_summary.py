"""What a refinement got from us, in a few lines: from the rows that its calls left beside it (`iterations.csv`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryobridge.schemas import iterations
from cryobridge.schemas.codes import code_of
from cryobridge.schemas.plain_file import read_plain

CORRECTED = "corrected"
_MOST_REASONS = 5
_LONGEST_REASON = 160


@dataclass
class RefinementRecords:
    """The records of one refinement, as they were when this was made and as they are when it is asked.

    Attributes
    ----------
    root
        Folder and first part of the names of the refinement's files, e.g. `Refine3D/job001/run`.
    first_iteration
        The first that counts, where it is known.
    """

    root: Path
    first_iteration: int | None = None
    before: list[iterations.Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.before = self._rows()

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.root.with_name(f"{self.root.name}.cryobridge")

    def new_rows(self) -> list[iterations.Row]:
        """The rows that were written since.

        An answered iteration removes the rows of later ones, so all from the first new one on are new, even where one
        is the same as before to the last digit.
        """
        rows = self._rows()
        if rows == self.before:
            return []
        first = self.first_iteration
        if first is None:
            first = min((int(row["iteration"]) for row in rows if row not in self.before), default=None)
        return [] if first is None else [row for row in rows if int(row["iteration"]) >= first]

    def _rows(self) -> list[iterations.Row]:
        try:
            raw = read_plain(self.folder / iterations.FILE_NAME, iterations.MAX_BYTES)
        except OSError:
            return []
        return iterations.parse(raw.decode("utf-8", "replace"))


def failures(rows: Sequence[iterations.Row]) -> list[iterations.Row]:
    """Rows of iterations in which something was wanted and could not be had."""
    return [row for row in rows if row["map"] != CORRECTED and code_of(row["code"]).is_failure]


def summary(rows: Sequence[iterations.Row]) -> Iterator[str]:
    """Say what came of the calls, a line each; nothing where there were none."""
    if not rows:
        return
    failed = failures(rows)
    corrected = [row for row in rows if row["map"] == CORRECTED]
    planned = len(rows) - len(failed) - len(corrected)
    parts = [
        f"{len(corrected)} corrected{_which(corrected)}",
        f"{planned} with RELION's own map as planned",
        f"{len(failed)} with RELION's own map because something failed{_which(failed)}",
    ]
    yield f"iterations answered: {len(rows)}; {', '.join(parts)}"
    reasons: dict[str, list[iterations.Row]] = {}
    for row in failed:
        reasons.setdefault(f"{row['why'][:_LONGEST_REASON]} ({row['code']})", []).append(row)
    for reason, those in list(reasons.items())[:_MOST_REASONS]:
        yield f"failed{_which(those)}: {reason}"
    if len(reasons) > _MOST_REASONS:
        yield f"and {len(reasons) - _MOST_REASONS} other reasons, see {iterations.FILE_NAME}"
    resolved = [row for row in rows if row["resolution_A"]]
    if resolved:
        last = resolved[-1]
        yield f"last resolution {last['resolution_A']} A (iteration {last['iteration']}, raw half-maps, FSC 0.143)"
    timed = [(_seconds(row), row) for row in rows]
    slowest, at = max(timed, key=lambda pair: pair[0])
    total = sum(seconds for seconds, _ in timed)
    yield f"{total:.1f} s in all between call and map; the longest {slowest:.1f} s, in iteration {at['iteration']}"


def _seconds(row: iterations.Row) -> float:
    try:
        return float(row["seconds"])
    except ValueError:
        return 0.0


def _which(rows: Sequence[iterations.Row]) -> str:
    """The iterations of rows, neighbours together: ` (iterations 3, 7 to 9)`; nothing of no rows."""
    numbers = sorted({int(row["iteration"]) for row in rows})
    if not numbers:
        return ""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    words = [str(first) if first == last else f"{first} to {last}" for first, last in spans]
    return f" (iteration{'s' if len(numbers) > 1 else ''} {', '.join(words)})"
