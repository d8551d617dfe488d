"""Progress: few lines in a file, a bar on a terminal."""

from __future__ import annotations

import io

from cryobridge.bridge.progress import ProgressBar, ProgressLines, shown_progress


def test_a_file_gets_a_line_per_tenth_and_after_a_silence() -> None:
    lines: list[str] = []
    now = [0.0]
    progress = ProgressLines(lines.append, clock=lambda: now[0])
    for percent in range(101):
        progress.update(f"step {percent}", percent / 100)
        now[0] += 0.1
    assert lines == [f"{percent / 100:4.0%}  step {percent}" for percent in range(0, 101, 10)]
    now[0] += 31
    progress.update("still there", 1.0)
    assert lines[-1] == "100%  still there"


def test_progress_of_unknown_length_is_told_every_half_minute() -> None:
    lines: list[str] = []
    now = [0.0]
    progress = ProgressLines(lines.append, clock=lambda: now[0])
    for _ in range(61):
        progress.update("waiting", None)
        now[0] += 1.0
    assert lines == ["waiting"] * 3


def test_a_bar_shows_text_and_part_and_no_escape_of_strangers() -> None:
    stream = io.StringIO()
    bar = ProgressBar(stream)
    bar.update("training [red]\x1b[31m", 0.5)
    bar.live.console.print(bar.live.get_renderable())
    assert "training [red]?[31m" in stream.getvalue()
    assert "50%" in stream.getvalue()


def test_without_a_terminal_there_are_lines(capsys: object) -> None:
    shown, report = shown_progress()
    with shown:
        report("reading", 0.0)
    assert capsys.readouterr().err == "  0%  reading\n"  # type: ignore[attr-defined]
