"""Users of jobs: small jobs of several kinds, submitted, waited for, and compared with clean runs."""

from __future__ import annotations

import hashlib
import logging
import random
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryobridge.bridge.client import DaemonClient
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable, InputInvalid
from cryobridge.schemas.requests import CancelJob, ListJobs, SubmitJob, WaitForJob
from cryobridge.wrappers.formats import mrc

from . import bounds
from .bystanders import left_over
from .history import Acknowledged, JobEnd
from .invariants import TERMINAL
from .stage import Stage

log = logging.getLogger(__name__)

BOX = 24
VOXEL_A = 2.0
COMPARED = (".mrc", ".csv", ".safetensors")
"""What holds results; pages, logs and records also hold times and paths."""
PATIENCE_S = 60.0
CLEAN_S = 240.0


@dataclass
class Submitting:
    """All jobs of a run; `last_end` is when (`time.monotonic`) one was last seen to end."""

    stage: Stage
    clean: dict[str, dict[str, str]] = field(default_factory=dict)
    last_end: float = 0.0
    _open: dict[str, tuple[Acknowledged, bool, bool]] = field(default_factory=dict)
    _cancelled: set[str] = field(default_factory=set)
    _named: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _count: int = 0

    # ---- what is submitted

    def prepare(self) -> None:
        """Write the inputs, and run one job of each flavour while nothing disturbs it."""
        dice = np.random.default_rng(5)
        smooth = _blob() + 0.05 * _smooth(dice.standard_normal((BOX,) * 3))
        for name in ("half1", "half2"):
            volume = smooth + 0.02 * dice.standard_normal((BOX,) * 3)
            mrc.write_atomically(self.stage.folder / f"{name}.mrc", volume.astype(np.float32), VOXEL_A)
        mrc.write_atomically(self.stage.folder / "mask.mrc", (_blob() > 0.1).astype(np.float32), VOXEL_A)
        self.particles = self.stage.folder / "particles.star"
        self.particles.write_text(particles_star(dice.uniform(0, 180, (300, 3))))
        clean = self.stage.folder / "clean"
        with self.stage.client() as client:
            ids = {
                flavour: client.request(SubmitJob(spec=self.spec(flavour, clean / flavour)))["job_id"]
                for flavour in FLAVOURS
            }
            for flavour, job_id in ids.items():
                reply = client.wait(job_id, CLEAN_S)
                if reply["state"] != "succeeded":
                    raise RuntimeError(f"a clean {flavour} {reply['state']}: {reply['reason']} {reply['text']}")
                self.clean[flavour] = digests(clean / flavour)

    def spec(self, flavour: str, output: Path, **run: Any) -> dict[str, Any]:
        """A job of one flavour."""
        kind, inputs, options = FLAVOURS[flavour]
        return {
            "schema": "cryobridge/job/1",
            "kind": kind,
            "inputs": {key: str(self.stage.folder / name) for key, name in inputs.items()},
            "output": str(output),
            "options": options,
            "run": {"devices": "cpu", "threads": 1, **run},
        }

    def output(self) -> Path:
        """A folder that no other job has."""
        with self._lock:
            self._count += 1
            return self.stage.folder / "jobs" / f"job{self._count:05d}"

    # ---- how

    def submit(
        self, flavour: str, output: Path, *, request: str = "", may_fail: bool = False, **other: Any
    ) -> str | None:
        """Submit until the daemon says yes or no; an unnamed request is not made twice. The job's id, or None."""
        spec = {**self.spec(flavour, output, **({"request_id": request} if request else {})), **other}
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                with self.stage.client() as client:
                    reply = client.request(SubmitJob(spec=spec))
            except DaemonUnavailable:
                if not request:
                    return None
                time.sleep(0.3)
            except (CryobridgeError, OSError) as error:
                log.info("%s refused: %s", flavour, error)
                return None
            else:
                same_inputs = "inputs" not in other
                self.acknowledged(
                    str(reply["job_id"]), flavour, output, request, may_fail=may_fail, same_inputs=same_inputs
                )
                return str(reply["job_id"])
        return None

    def acknowledged(
        self,
        job_id: str,
        flavour: str,
        output: Path,
        request: str = "",
        *,
        may_fail: bool = False,
        same_inputs: bool = True,
    ) -> None:
        """Note that the daemon has taken a job; from now on it is followed to its end.

        Its results are compared with those of a clean run where it has `same_inputs`.
        """
        told = Acknowledged(self.stage.history.now_s, job_id, flavour, str(output), request)
        self.stage.history.add(told)
        with self._lock:
            self._open[job_id] = (told, may_fail, same_inputs)
            if request:
                self._named.add(str(output))

    def cancel(self, job_id: str) -> None:
        """Ask for a job's end."""
        with self._lock:
            self._cancelled.add(job_id)
        try:
            with self.stage.client() as client:
                client.request(CancelJob(job_id=job_id))
        except (CryobridgeError, OSError):
            return

    def open_ids(self) -> list[str]:
        """Jobs that were not seen to end yet."""
        with self._lock:
            return list(self._open)

    def until(self, condition: Callable[[], object]) -> bool:
        """Wait for something that jobs bring about; false once none has ended for `bounds.JOB_S`.

        However many wait in front on however busy a machine, a service that does its jobs is waited for.
        """
        began = time.monotonic()
        while not condition():
            if time.monotonic() - max(began, self.last_end) > bounds.JOB_S:
                return False
            time.sleep(0.5)
        return True

    def stream(self, name: str, seed: int, quiet: threading.Event) -> None:
        """One user who submits jobs of every flavour, some named, some twice, and cancels a few."""
        dice = random.Random(seed)
        number = 0
        while not quiet.is_set():
            if len(self.open_ids()) < 6:
                number += 1
                request = f"{name}-{number}" if dice.random() < 0.6 else ""
                flavour, output = dice.choice(list(FLAVOURS)), self.output()
                job_id = self.submit(flavour, output, request=request)
                if job_id and request and dice.random() < 0.3:
                    self.submit(flavour, output, request=request)
                if job_id and dice.random() < 0.1:
                    self.cancel(job_id)
            quiet.wait(dice.uniform(0.3, 3.0))

    def follow(self) -> None:
        """See what becomes of open jobs, until the run is over."""
        while not self.stage.over.wait(0.5):
            self.look()

    def look(self) -> None:
        """Ask once for every open job."""
        try:
            with self.stage.client() as client:
                for job_id in self.open_ids():
                    self._look_at(client, job_id)
        except (CryobridgeError, OSError):
            return

    def count_doubles(self) -> None:
        """Count in the daemon's own list how often each named request was taken."""
        with self.stage.client() as client:
            rows = client.request(ListJobs(limit=10_000))["jobs"]
        outputs = [row["output"] for row in rows]
        for output in self._named:
            count = outputs.count(output)
            self.stage.history.check("requests are done once", count <= 1, f"{output} is the output of {count} jobs")

    # ---- inside

    def _look_at(self, client: DaemonClient, job_id: str) -> None:
        with self._lock:
            if job_id not in self._open:
                return
            told, may_fail, same_inputs = self._open[job_id]
        try:
            reply = client.request(WaitForJob(job_id=job_id, timeout_s=0.0))
        except InputInvalid as error:
            reply = {"state": "lost", "text": str(error)}
        if reply["state"] not in (*TERMINAL, "lost"):
            return
        with self._lock:
            if self._open.pop(job_id, None) is None:
                return
            self.last_end = time.monotonic()
        output = Path(told.output)
        differing: tuple[str, ...] = ()
        if reply["state"] == "succeeded":
            made, clean = digests(output), self.clean[told.flavour]
            if same_inputs:
                differing = tuple(sorted(name for name in {*made, *clean} if made.get(name) != clean.get(name)))
            if not may_fail:
                found = left_over(output)
                text = f"job {job_id} ({told.flavour}): {', '.join(found) or 'nothing'}"
                self.stage.history.check("nothing is left behind", not found, text)
        self.stage.history.add(
            JobEnd(
                self.stage.history.now_s,
                job_id,
                str(reply["state"]),
                str(reply.get("reason") or ""),
                str(reply.get("text") or "")[:400],
                int(reply.get("attempts", 0)),
                differing,
                may_fail,
                job_id in self._cancelled,
            )
        )
        shutil.rmtree(output, ignore_errors=True)


_CORRECT = {
    "cube_size": 16,
    "crop_size": 32,
    "batch": 2,
    "steps": 5,
    "limit_resolution_A": 6.0,
    "checkpoint_every_s": 0.2,
}
_HALVES = {"half1": "half1.mrc", "half2": "half2.mrc"}
FLAVOURS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "fsc3d": ("map.fsc3d", _HALVES, {}),
    "correct": ("map.correct", {**_HALVES, "mask": "mask.mrc"}, _CORRECT),
    "combine": ("map.combine", {"low": "half1.mrc", "high": "half2.mrc"}, {"threshold_resolution_A": 8.0}),
    "lowpass": ("map.lowpass", {"map": "half1.mrc"}, {"resolution_A": 8.0}),
    "sampling": ("map.sampling", {"particles": "particles.star"}, {"box": 24, "grid": 16, "views": 1000, "seed": 1}),
}
"""Kind, files of the inputs and options of each."""


def particles_star(angles: NDArray[np.float64]) -> str:
    """A particle table of RELION's with these rot, tilt, psi (N, 3)."""
    rows = "".join(f"{i + 1:06d}@a.mrcs {rot:.3f} {tilt:.3f} {psi:.3f}\n" for i, (rot, tilt, psi) in enumerate(angles))
    names = ("rlnImageName", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
    columns = "".join(f"_{name} #{number + 1}\n" for number, name in enumerate(names))
    return f"data_particles\n\nloop_\n{columns}{rows}\n"


def _blob() -> NDArray[np.float64]:
    z, y, x = np.meshgrid(*[np.arange(BOX) - BOX / 2] * 3, indexing="ij")
    return np.asarray(np.exp(-(x**2 + y**2 * 1.5 + z**2 * 2) / 30.0))


def _smooth(volume: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(volume + np.roll(volume, 1, 0) + np.roll(volume, 1, 1) + np.roll(volume, 1, 2))


def digests(folder: Path) -> dict[str, str]:
    """What is in a job's results, by the name of the file."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.suffix in COMPARED and not path.name.startswith(".")
    }
