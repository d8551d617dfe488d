"""Output folders with pipes, links and devices where a job wants to write or read (D6); others must go on."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from ..bystanders import marks, touched
from ..stage import Stage
from .deed import Deed

SAID_BY_JOBS = (
    "job.yaml",
    "run.log",
    ".lock",
    "result.json",
    "lowpassed.mrc",
    "report.html",
    ".checkpoint.safetensors",
)


def _pipe(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def _link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def _endless(path: Path, victim: Path) -> None:
    path.symlink_to("/dev/zero")


def _full(path: Path, victim: Path) -> None:
    path.symlink_to("/dev/full")


def _folder(path: Path, victim: Path) -> None:
    (path / "kept").mkdir(parents=True)


def _circle(path: Path, victim: Path) -> None:
    path.symlink_to(path)


TRAPS: tuple[Callable[[Path, Path], None], ...] = (_pipe, _pipe, _link, _endless, _full, _folder, _circle)


def trapped_output(stage: Stage, dice: random.Random) -> str:
    """A job whose output folder holds one thing that is not what it seems; it ends, and the victim is not touched."""
    submitting = stage.services["submitting"]
    output = submitting.output()
    victims = stage.folder / "victims" / output.name
    victims.mkdir(parents=True)
    output.mkdir()
    (victims / "thesis.txt").write_text("years of work\n" * 100)
    before = marks(victims)
    name, trap = dice.choice(SAID_BY_JOBS), dice.choice(TRAPS)
    trap(output / name, victims / "thesis.txt")
    overwrite = dice.random() < 0.5
    spec = submitting.spec("lowpass", output, overwrite=overwrite)
    job_id = submitting.submit("lowpass", output, may_fail=True, run=spec["run"])
    if job_id:
        stage.until(lambda: job_id not in submitting.open_ids(), 30.0)
    for text in touched(before):
        stage.history.check("others' files are untouched", False, f"{trap.__name__} as {name}: {text}")
    return f"{trap.__name__[1:]} as {name}{', overwrite' if overwrite else ''}"


def output_that_moves(stage: Stage, dice: random.Random) -> str:
    """The output folder becomes a link, or goes away, while its job runs."""
    submitting = stage.services["submitting"]
    output = submitting.output()
    job_id = submitting.submit("correct", output, may_fail=True)
    stage.until(output.exists, 10.0, every_s=0.02)
    time.sleep(dice.uniform(0, 1.0))
    with contextlib.suppress(OSError):
        output.rename(output.with_name(f"{output.name}-moved"))
    return f"{job_id}: moved away"


def inputs_that_are_not(stage: Stage, dice: random.Random) -> str:
    """Maps that are pipes, devices or loops."""
    submitting = stage.services["submitting"]
    output = submitting.output()
    source = output.with_name(f"{output.name}-input.mrc")
    trap = dice.choice((_pipe, _endless, _circle, _folder))
    trap(source, source)
    inputs = {"map": str(source)}
    job_id = submitting.submit("lowpass", output, may_fail=True, inputs=inputs)
    return f"{trap.__name__[1:]}: {job_id}"


DEEDS = (
    Deed("a trap in an output folder", trapped_output, 3),
    Deed("an output folder that moves", output_that_moves),
    Deed("inputs that are no files", inputs_that_are_not),
)
