"""A refinement small enough for a test: sums of simulated particles, and the hook called as RELION calls it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import mrcfile
import numpy as np

from cryobridge.wrappers.relion.demo import jobfiles, particles, specimen, spectra, sums

BOX = 32
HOOK = f"{Path(sys.executable).parent / 'cryobridge-relion'}"
FAST = {
    "CRYOBRIDGE_STEPS": "6",
    "CRYOBRIDGE_WARM_STEPS": "4",
    "CRYOBRIDGE_SEED": "1",
    "ISONET_START_HEALPIX": "0",
    "ISONET_START_RESOLUTION": "99",
}
"""A correction that starts at once and takes a few steps."""
SETTINGS = "network: {cube_size: 16, crop_size: 32, batch: 2}\n"
"""`cryobridge.yaml` of a test's job folder: the smallest training there is."""


@dataclass(frozen=True)
class Simulated:
    """The inputs of both halves of one iteration, made once and handed out again under any iteration's name."""

    particles: particles.Particles
    halves: tuple[sums.Sums, sums.Sums]
    fsc: np.ndarray
    tau2: tuple[np.ndarray, np.ndarray]
    mask: np.ndarray


def simulate(seed: int = 7, box: int = BOX) -> Simulated:
    """About a second of work on one core."""
    recipe = particles.Recipe(box=box, pixel_size_A=4.8, n_particles=240, signal_to_noise=1.0, seed=seed)
    made = particles.simulate(recipe)
    halves = tuple(sums.back_project(made, made.halves == half, made.euler_deg, 28) for half in (1, 2))
    fsc = spectra.half_map_fsc(*halves)
    tau2 = tuple(spectra.reference_tau2(half, fsc) for half in halves)
    return Simulated(made, halves, fsc, tau2, specimen.solvent_mask(made.truth))


@dataclass
class Call:
    """One running or finished hook."""

    half: int
    process: subprocess.Popen
    log: Path
    result: Path
    started: float = field(default_factory=time.monotonic)
    status: int | None = None

    def wait(self, timeout_s: float = 120.0) -> int:
        """Wait for the hook and return its exit status."""
        self.status = self.process.wait(timeout_s)
        return self.status

    @property
    def text(self) -> str:
        """What the hook wrote, where RELION's log would have it."""
        return self.log.read_text(errors="replace")

    def map(self) -> np.ndarray:
        """The map that RELION would read now."""
        with mrcfile.open(self.result) as file:
            return np.array(file.data)


@dataclass
class Refinement:
    """A project folder with a job in it, and the calls that RELION would make there."""

    project: Path
    simulated: Simulated
    environment: dict[str, str]
    calls: list[Call] = field(default_factory=list)

    @classmethod
    def start(cls, project: Path, simulated: Simulated, environment: dict[str, str]) -> Refinement:
        """Write what a refinement has before its first call."""
        made = simulated.particles
        recipe = made.recipe
        reference = specimen.low_passed(made.truth, recipe.pixel_size_A, 30.0)
        jobfiles.write_inputs(project, made, reference, simulated.mask)
        for half in (1, 2):
            shutil.copy(project / "data/reference.mrc", project / f"{jobfiles.ROOT}_it000_half{half}_class001.mrc")
        (project / jobfiles.ROOT).with_name("cryobridge.yaml").write_text(SETTINGS)
        jobfiles.write_iteration(project, 0, made, made.euler_deg, 1, simulated.fsc)
        return cls(project, simulated, {**os.environ, **environment})

    @property
    def job_folder(self) -> Path:
        """RELION's job folder."""
        return (self.project / jobfiles.ROOT).parent

    def write_call(self, iteration: int, half: int) -> Path:
        """Write the sums of one half as RELION does before a call; return the STAR file's name."""
        made = self.simulated
        if not (self.project / f"{jobfiles.ROOT}_it{iteration - 1:03d}_optimiser.star").exists():
            jobfiles.write_iteration(self.project, iteration - 1, made.particles, made.particles.euler_deg, 3, made.fsc)
        index = half - 1 if half else 0
        return jobfiles.write_call(
            self.project, iteration, half, made.halves[index], made.fsc, made.tau2[index], made.particles
        )

    def begin(self, iteration: int, half: int, **more: str) -> Call:
        """Write one half's sums and start the hook, through the shell as RELION does."""
        star = self.write_call(iteration, half)
        return self.call(star, half, **more)

    def call(
        self, star: Path, half: int, *, limit_kib: int | None = None, log_folder: Path | None = None, **more: str
    ) -> Call:
        """Start the hook on a STAR file that is there; `limit_kib` bounds the memory of all that comes of it."""
        log = (log_folder or self.project) / f"{star.stem}.{time.monotonic_ns()}.log"
        limit = f"ulimit -v {limit_kib}; " if limit_kib else ""
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"{limit}exec {HOOK} {star}"],
                cwd=self.project,
                env={**self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        call = Call(half, process, log, self.project / f"{star.with_suffix('')}.mrc")
        self.calls.append(call)
        return call

    def iterate(self, iteration: int, timeout_s: float = 120.0, **more: str) -> tuple[Call, Call]:
        """Make one whole iteration, both halves at a time."""
        first, second = (self.begin(iteration, half, **more) for half in (1, 2))
        first.wait(timeout_s)
        second.wait(timeout_s)
        return first, second

    def stock(self, iteration: int, half: int, program: Path) -> np.ndarray:
        """What RELION's own program makes of a call (its inputs are written anew)."""
        star = self.write_call(iteration, half)
        folder = self.project / f"stock_{iteration}_{half}"
        folder.mkdir(exist_ok=True)
        text = (self.project / star).read_text()
        result = f"{star.with_suffix('')}.mrc"
        out = folder / "stock.mrc"
        (folder / "stock.star").write_text(text.replace(result, str(out)))
        subprocess.run([str(program), str(folder / "stock.star")], cwd=self.project, check=True, capture_output=True)
        with mrcfile.open(out, permissive=True) as file:
            return np.array(file.data)

    def end(self) -> None:
        """End hooks that still run."""
        for call in self.calls:
            if call.process.poll() is None:
                call.process.send_signal(signal.SIGKILL)
                call.process.wait()


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """RMS difference relative to the RMS of `other`."""
    return float(np.sqrt(((one - other) ** 2).sum() / (other.astype(np.float64) ** 2).sum()))
