"""Runs a job file in the foreground, in a worker process of its own: this process never imports torch."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from .. import render

WORKER_MODULE = "cryobridge.bridge.worker.run"
_KILL_AFTER_S = 10.0


def run_in_foreground(job_file: Path) -> int:
    """Run a job file, show its progress on standard error and its words on standard output; return its exit code.

    The worker prints one JSON object per line for progress (`{"type": "progress", "text", "fraction"}`), and plain
    text for the rest. Interrupted (Ctrl-C), the worker gets the signal too and ends at its next step.
    """
    worker = subprocess.Popen(
        [sys.executable, "-I", "-u", "-m", WORKER_MODULE, str(job_file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    assert worker.stdout is not None  # noqa: S101 - a pipe was asked for
    shown, report = render.progress()
    try:
        with shown:
            show_lines(worker.stdout, report)
        return _exit_code(worker.wait())
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            worker.wait(_KILL_AFTER_S)
        raise
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def show_lines(lines: Iterable[str], report: Callable[[str, float | None], None]) -> None:
    """Sort a worker's output into progress reports and words to print."""
    for line in lines:
        try:
            frame = json.loads(line) if line.startswith("{") else None
        except ValueError:
            frame = None
        if not isinstance(frame, dict) or frame.get("type") != "progress":
            click.echo(line.rstrip("\n"))
            continue
        fraction = frame.get("fraction")
        report(str(frame.get("text", "")), float(fraction) if isinstance(fraction, int | float) else None)


def _exit_code(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode
