"""Figures of a report, drawn so that none of them can cost the result."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..report.page import Figure

log = logging.getLogger(__name__)


class DrawnFigures:
    """Figures in their order; one that cannot be drawn is left out, and a remark says so.

    Attributes
    ----------
    figures, remarks
        What was drawn, and what was not.
    """

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self.remarks: list[str] = []

    def add(
        self, title: str, draw: Callable[[], bytes], reading: str, *, table: str = "", is_tile: bool = False
    ) -> None:
        """Draw a figure; see `Figure` for the rest."""
        try:
            self.figures.append(Figure(title, draw(), reading, table=table, is_tile=is_tile))
        except Exception as error:  # whatever it is: the numbers and volumes are written and worth more
            log.exception("figure %s", title)
            self.remarks.append(f"The figure '{title}' could not be drawn ({error}); its numbers are in the tables.")
