"""What `top` draws."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from cryobridge.bridge.commands.screen import CallRate, Screen, bar
from cryobridge.schemas.news import Board, Snapshot


def drawn(tables: dict[str, Any], width: int = 160) -> str:
    board = Board()
    board.take(Snapshot(number=1, at=0.0, tables=tables))
    stream = io.StringIO()
    Console(file=stream, width=width).print(Screen(board).page(0.0, 1000.0))
    return stream.getvalue()


def test_calls_per_minute_are_those_of_the_last_minute() -> None:
    rate = CallRate()
    assert rate.per_minute(0) is None
    for now, total in ((0, 100), (10, 104), (50, 106)):
        rate.note(now, total)
    assert rate.per_minute(59) == 6
    rate.note(75, 107)
    assert rate.per_minute(75) == 3, "those of 10 s are older than a minute"
    assert rate.per_minute(120) == 1
    assert rate.per_minute(500) == 0


def test_the_rate_begins_anew_with_another_daemon() -> None:
    rate = CallRate()
    rate.note(0, 100)
    rate.note(1, 3)
    rate.note(2, 5)
    assert rate.per_minute(2) == 2


@pytest.mark.parametrize(
    ("fraction", "shown"), [(0.0, "░" * 24 + "   0%"), (1.0, "█" * 24 + " 100%"), (2.0, "█" * 24 + " 100%"), (None, "")]
)
def test_a_bar_is_so_far_filled(fraction: float | None, shown: str) -> None:
    assert bar(fraction) == shown


def test_a_page_of_an_empty_daemon_is_drawn() -> None:
    assert "no jobs run or wait" in drawn({})


def test_a_call_stands_before_the_job_that_gave_way_to_it() -> None:
    worker = {"name": "w", "device": "cpu", "state": "ready", "busy": True, "rss_bytes": 2_000_000_000}
    call = {"worker": "w", "uid": 0, "session": "/p/run", "iteration": 4, "halves": {"1": "correcting"}}
    job = {"worker": "w", "uid": 0, "state": "running", "kind": "vae.train", "job_id": "abc"}
    page = drawn({"workers": {"w": worker}, "jobs": {"abc": job}, "calls": {"x": call}})
    assert "root: /p/run iteration 4: half 1 correcting" in page
    assert "2.0 GB" in page
    assert "vae.train abc" in drawn({"workers": {"w": worker}, "jobs": {"abc": job}})


def test_memory_of_a_gpu_is_what_is_taken_of_all() -> None:
    worker = {"name": "w", "device_total_bytes": 80_000_000_000, "device_free_bytes": 30_000_000_000, "rss_bytes": 5}
    assert "50.0 GB of 80.0 GB" in drawn({"workers": {"w": worker}})


def test_the_refinements_that_called_last_are_shown_and_the_rest_counted() -> None:
    rows = {f"/p/run{n:02}": {"session": f"/p/run{n:02}", "uid": 0, "last_call_at": n} for n in range(15)}
    page = drawn({"refinements": rows})
    assert "/p/run14" in page
    assert "/p/run02" not in page
    assert "and 3 more" in page
