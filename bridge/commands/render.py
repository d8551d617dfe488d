"""What the commands print: tables and words for people, JSON for programs.

rich is imported only when a table is really drawn, so that `--json` and one-line answers stay quick.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..terminal import printable
from ..users import user_name

WIDE = 10_000
"""Columns of a "terminal" that never breaks lines, for output that goes to a file or a pipe."""


def as_json(value: object) -> None:
    """Print JSON for a program to read."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Print rows under column names; `empty` is said when there are none."""
    if not rows:
        click.echo(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    stream = sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else WIDE, highlight=False)
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        # Text, not str: a folder called [red] is no markup.
        grid.add_row(*(Text(printable(cell)) for cell in row))
    console.print(grid)


def jobs_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], uids: Sequence[int | None], empty: str
) -> None:
    """Print rows as `table` does, with the user before the last column where not all are the asker's own."""
    if all(uid in (None, os.getuid()) for uid in uids):
        table(columns, rows, empty)
        return
    names = [None if uid is None else user_name(uid) for uid in uids]
    with_users = [[*row[:-1], name, row[-1]] for row, name in zip(rows, names, strict=True)]
    table([*columns[:-1], "USER", columns[-1]], with_users, empty)


def duration(seconds: object) -> str:
    """Seconds as a person says them: 12 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    if not isinstance(seconds, int | float):
        return "-"
    whole = int(seconds)
    for size, name, small_size, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small_size
            return f"{whole // size} {name} {rest} {small_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def moment(seconds: object) -> str:
    """Seconds since 1970 as this place's date and time."""
    if not isinstance(seconds, int | float):
        return "-"
    return datetime.datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(count: object) -> str:
    """Bytes as a person says them, in powers of 1000."""
    if not isinstance(count, int | float):
        return "-"
    value = float(count)
    for name in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {name}" if name == "B" or value >= 100 else f"{value:.1f} {name}"
        value /= 1000
    return f"{value:.1f} TB"


def pairs(values: Mapping[str, Any]) -> None:
    """Print `name  value` lines, the names in one column."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        click.echo(f"{name:<{width}}  {printable(value)}")
