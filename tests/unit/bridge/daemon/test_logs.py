"""The daemon's log: one JSON object per line for programs, key=value for people."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from cryobridge.bridge.daemon.logs import JsonFormatter, LineFormatter, set_up


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("cryobridge.bridge.pool", logging.WARNING, __file__, 1, message, (), None)
    made.__dict__.update(extra)
    return made


def test_each_line_is_one_json_object_whatever_the_values() -> None:
    text = JsonFormatter().format(record("worker\nended", job_id="a1", iteration=7, path=object(), text="ü\n\x07"))
    assert "\n" not in text
    line = json.loads(text)
    assert (line["event"], line["job_id"], line["iteration"], line["level"]) == ("worker\nended", "a1", 7, "warning")
    assert line["time"].endswith("Z")


def test_people_read_values_with_spaces_in_quotes_so_that_one_record_is_one_line() -> None:
    text = LineFormatter().format(record("job ended", job_id="a1", text='two\nlines "quoted"', empty=""))
    assert text == 'warning job ended job_id=a1 text="two\\nlines \\"quoted\\"" empty='


def test_exceptions_are_kept() -> None:
    try:
        raise ValueError("seven")
    except ValueError:
        failing = record("failed")
        failing.exc_info = sys.exc_info()
    assert "ValueError: seven" in json.loads(JsonFormatter().format(failing))["exception"]
    assert "ValueError: seven" in LineFormatter().format(failing)


def test_a_daemon_that_a_hook_started_says_only_warnings_on_stderr_and_all_in_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    root.handlers.clear()
    try:
        set_up("INFO", tmp_path / "daemon.log", "WARNING")
        logging.getLogger("x").info("a call", extra={"job_id": "a"})
        logging.getLogger("x").warning("a fallback")
        assert capsys.readouterr().err == "warning a fallback\n"
        lines = [json.loads(line) for line in (tmp_path / "daemon.log").read_text().splitlines()]
        assert [line["event"] for line in lines] == ["a call", "a fallback"]
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = before
        root.setLevel(level)
        logging.raiseExceptions = raising
