"""RELION's part: refinements that call iteration after iteration, and what each call left."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mrcfile
import numpy as np
from support.answers import result_lines
from support.refinement import BOX, FAST, Call, Refinement, Simulated, simulate

from cryobridge.schemas import hook_settings
from cryobridge.wrappers.relion.demo import jobfiles

from . import bounds
from .bystanders import left_over, marks, touched
from .history import HookEnd
from .stage import Stage

log = logging.getLogger(__name__)

HEADER_BYTES = 1024
MAP_BYTES = BOX**3 * 4
OFF_SCALE = 10.0
"""A corrected map's RMS is within this factor of the standard map's."""
SWITCHED_OFF = "correction is switched off"
CLEAN_ATTEMPTS = 3
LONGEST_REST_S = 10.0
NO_CORRECTION = {hook_settings.VARIABLES["correction"]: "0"}
FASTER = {"CRYOBRIDGE_STEPS": "2", "CRYOBRIDGE_WARM_STEPS": "1"}
ENDS_S = 2 * bounds.CALL_S
"""A hook that is not back by then is killed by us, and counts as late."""
RELION_WROTE = re.compile(r"run_it\d{3,}_[\w.]*\.(star|mrc)|cryobridge\.yaml")
USED_UP = re.compile(r"_external_reconstruct_(data_real|data_imag|weight)\.mrc|_external_reconstruct_out\.star")


@dataclass
class RunningHook:
    """A hook that has not ended, and what we did to it."""

    name: str
    call: Call
    wounded: bool = False
    held_s: float = 0.0

    def send(self, number: signal.Signals) -> bool:
        """Send its process a signal, if it is there."""
        if self.call.process.poll() is not None:
            return False
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.wounded = True
        with contextlib.suppress(ProcessLookupError):
            self.call.process.send_signal(number)
        return True


@dataclass
class Refining:
    """All refinements of a run."""

    stage: Stage
    simulated: Simulated = field(default_factory=simulate)
    clean: dict[int, set[str]] = field(default_factory=lambda: {1: set(), 2: set()})
    rms: dict[int, float] = field(default_factory=dict)
    _running: dict[int, RunningHook] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def prepare(self) -> None:
        """Make the template project, and every standard map that a call may rightly get.

        Those are the daemon's, RELION's own program's where it is installed, and ours without a daemon.
        """
        template = self._new("template")
        nobody = str(self.stage.folder / "nobody")
        alone = {"CRYOBRIDGE_SPAWN": "0", "CRYOBRIDGE_SOCKET": nobody}
        bare = self.stage.folder / "bare"
        bare.mkdir()
        for number, more in enumerate((NO_CORRECTION, alone, {**alone, "PATH": str(bare)}), start=3):
            for attempt in range(CLEAN_ATTEMPTS):
                calls = [
                    template.call(template.write_call(number, half), half, log_folder=self._logs, **more)
                    for half in (1, 2)
                ]
                if any(call.wait() != 0 for call in calls):
                    raise RuntimeError(f"no clean standard map could be made: {calls[0].text} {calls[1].text}")
                said = result_lines(calls[0])[-1]
                # On a busy machine the daemon's own map may come from somewhere else; then none of its maps is known.
                if all((SWITCHED_OFF in result_lines(call)[-1]) == (more is NO_CORRECTION) for call in calls):
                    break
                log.info("a clean run was disturbed (%d): %s", attempt + 1, said)
            else:
                raise RuntimeError(f"clean runs were disturbed: {said}")
            for call in calls:
                self.clean[call.half].add(_voxels(call.result))
                self.rms[call.half] = float(np.sqrt(np.mean(call.map().astype(np.float64) ** 2)))

    def stream(self, name: str, seed: int, quiet: threading.Event) -> None:
        """One refinement until the run is over, and one iteration after that, which nothing disturbs."""
        dice = random.Random(seed)
        refinement = self._new(name, learns=True)
        (refinement.job_folder / "notes of mine.txt").write_text("not for programs\n")
        theirs = {**marks(refinement.project / "data"), **marks(refinement.job_folder)}
        iteration = 3
        while not quiet.is_set():
            more = NO_CORRECTION if dice.random() < 0.15 else {}
            began = time.monotonic()
            self.iterate(refinement, name, iteration, pause_s=dice.choice((0.0, 0.0, 0.3, 2.0)), more=more)
            self._check_theirs(name, theirs)
            self._forget(refinement, iteration - 2)
            iteration += 1
            # A refinement searches between its calls; without a rest, however slow the machine is, calls would take
            # all of the worker's time, and jobs, which come after them, none.
            took_s = time.monotonic() - began
            quiet.wait(dice.uniform(0, 1.0) + min(dice.uniform(0.5, 2.0) * took_s, LONGEST_REST_S))
        self.stage.services["calm"].wait()
        self.iterate(refinement, name, iteration)
        self._check_theirs(name, theirs)
        self._check_folder(refinement, name)

    def iterate(
        self,
        refinement: Refinement,
        name: str,
        iteration: int,
        *,
        pause_s: float = 0.0,
        more: dict[str, str] | None = None,
        limit: str = "",
    ) -> list[HookEnd]:
        """Both halves of an iteration; as `relion_refine --continue` does, again when one of them was killed."""
        for attempt in range(20):
            started = []
            for half in (1, 2):
                star = refinement.write_call(iteration, half)
                started.append(self._begin(refinement, name, star, half, more or {}, limit))
                time.sleep(pause_s if half == 1 else 0)
            ends = [self._ended(hook, iteration, attempt) for hook in started]
            if not any(end.wounded for end in ends):
                return ends
        return ends

    def iterate_written(self, refinement: Refinement, name: str, iteration: int) -> list[HookEnd]:
        """Both halves of an iteration whose sums are there; once, whatever becomes of them."""
        stars = [
            Path(f"{jobfiles.ROOT}_it{iteration:03d}_half{half}_class001_external_reconstruct.star") for half in (1, 2)
        ]
        started = [self._begin(refinement, name, star, half, {}, "") for half, star in enumerate(stars, start=1)]
        return [self._ended(hook, iteration, 0) for hook in started]

    def burst(self, count: int, seed: int, *, correct: bool) -> list[HookEnd]:
        """Many refinements call at once, each in a new folder, which is looked at and removed."""
        found: list[HookEnd] = []

        def one(number: int) -> None:
            more = {} if correct else NO_CORRECTION
            found.extend(self._visit(f"burst{seed}-{number}", (3,), more=more))

        threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def visit(self, name: str) -> list[HookEnd]:
        """A refinement that trains a network, calls twice and is removed."""
        return self._visit(name, (3, 4), learns=True)

    def running(self) -> list[RunningHook]:
        """Hooks that have not ended."""
        with self._lock:
            return list(self._running.values())

    def new(self, name: str, folder: Path | None = None) -> Refinement:
        """A refinement that has not called yet."""
        return self._new(name, folder)

    # ---- inside

    @property
    def _logs(self) -> Path:
        logs = self.stage.folder / "logs"
        logs.mkdir(exist_ok=True)
        return logs

    def _new(self, name: str, folder: Path | None = None, *, learns: bool = False) -> Refinement:
        """A refinement's folder. One that learns leaves a network in the worker, of which there are eight at most."""
        project = (folder or self.stage.folder / "projects") / name
        template = self.stage.folder / "template"
        if not template.exists():
            Refinement.start(template, self.simulated, {})
        shutil.copytree(template, project)
        settings = {**FAST, **FASTER} if learns else {key: FAST[key] for key in FAST.keys() - FASTER.keys()}
        return Refinement(project, self.simulated, {**self.stage.environment, **settings})

    def _visit(
        self, name: str, iterations: Sequence[int], *, learns: bool = False, more: dict[str, str] | None = None
    ) -> list[HookEnd]:
        refinement = self._new(name, learns=learns)
        ends = [end for number in iterations for end in self.iterate(refinement, name, number, more=more)]
        self._check_folder(refinement, name)
        shutil.rmtree(refinement.project)
        return ends

    def _begin(
        self, refinement: Refinement, name: str, star: Path, half: int, more: dict[str, str], limit: str
    ) -> RunningHook:
        log_folder = self._logs
        if limit:
            refinement = Refinement(refinement.project, self.simulated, refinement.environment)
            call = _limited(refinement, star, half, log_folder, more, limit)
        else:
            call = refinement.call(star, half, log_folder=log_folder, **more)
        hook = RunningHook(name, call)
        with self._lock:
            self._running[call.process.pid] = hook
        return hook

    def _ended(self, hook: RunningHook, iteration: int, attempt: int) -> HookEnd:
        call = hook.call
        try:
            status = call.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            call.process.kill()
            status = call.wait()
        seconds = time.monotonic() - call.started
        with self._lock:
            self._running.pop(call.process.pid, None)
        lines = result_lines(call)
        said = lines[-1] if lines else " / ".join(call.text.splitlines()[-3:])
        end = HookEnd(
            self.stage.history.now_s,
            hook.name,
            iteration,
            attempt,
            call.half,
            status,
            round(seconds, 2),
            self.made(call.result, call.half),
            said[:400],
            hook.wounded,
            hook.held_s,
        )
        self.stage.history.add(end)
        call.log.unlink(missing_ok=True)
        return end

    def made(self, path: Path, half: int) -> str:
        """What a call left under the name that RELION reads: see `HookEnd.made`."""
        if not path.exists():
            return "none"
        if path.stat().st_size != HEADER_BYTES + MAP_BYTES:
            return f"broken: {path.stat().st_size} bytes"
        if _voxels(path) in self.clean[half]:
            return "standard"
        try:
            with mrcfile.open(path) as file:
                volume = np.array(file.data, dtype=np.float64)
        except ValueError as error:
            return f"broken: {error}"
        if volume.shape != (BOX,) * 3 or not np.isfinite(volume).all():
            return "broken: not finite, or of another shape"
        rms = float(np.sqrt(np.mean(volume**2)))
        if not self.rms[half] / OFF_SCALE < rms < self.rms[half] * OFF_SCALE:
            return f"broken: RMS {rms:.3g}, the standard map's is {self.rms[half]:.3g}"
        return "corrected"

    def _check_theirs(self, name: str, theirs: dict[Path, tuple[int, int, str]]) -> None:
        for text in touched(theirs):
            self.stage.history.check("others' files are untouched", False, f"{name}: {text}")

    def _check_folder(self, refinement: Refinement, name: str) -> None:
        """After an iteration that nothing disturbed nothing temporary is left, and nothing that RELION never wrote."""
        found = left_over(refinement.project)
        for entry in os.listdir(refinement.job_folder):
            foreign = not RELION_WROTE.fullmatch(entry) and entry not in ("run.cryobridge", "notes of mine.txt")
            if foreign or USED_UP.search(entry):
                found.append(entry)
        text = f"{name}: {', '.join(dict.fromkeys(found)) or 'nothing'}"
        self.stage.history.check("nothing is left behind", not found, text)

    def _forget(self, refinement: Refinement, iteration: int) -> None:
        """Remove an old iteration's files, so that a long run needs no large disk."""
        if iteration > 0:
            for path in refinement.job_folder.glob(f"run_it{iteration:03d}_*"):
                path.unlink()


def _voxels(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()[HEADER_BYTES:]).hexdigest()


def _limited(refinement: Refinement, star: Path, half: int, logs: Path, more: dict[str, str], limit: str) -> Call:
    """A hook under a limit of the shell's, such as `ulimit -n 16`."""
    from support.refinement import HOOK

    log = logs / f"{star.stem}.{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"{limit}; exec {HOOK} {star}"],
            cwd=refinement.project,
            env={**refinement.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Call(half, process, log, refinement.project / f"{star.with_suffix('')}.mrc")
