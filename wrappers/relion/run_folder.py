"""A refinement as its RELION job folder shows it, read by path: for the watcher and the doctor.

Reads small text files only. What a call itself needs comes from the hook as descriptors, never from here.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryobridge.wrappers.relion import jobdir

OPTIMISER = re.compile(r"^(?P<root>.+)_it(?P<iteration>\d{3,})_optimiser\.star$")
EXIT_MARKERS = {
    "RELION_JOB_EXIT_SUCCESS": "succeeded",
    "RELION_JOB_EXIT_FAILURE": "failed",
    "RELION_JOB_EXIT_ABORTED": "aborted",
}
_COMPLETE = "rlnFourierMask"
"""Near the end of every optimiser file since RELION 3.1, so its presence means the file is whole."""


@dataclass(frozen=True)
class RunFolder:
    """One output root of a RELION job, at one iteration.

    Attributes
    ----------
    job_dir
        The job's folder, absolute, links resolved.
    root
        File stem, e.g. `run` or `run_ct12`.
    iteration
        That of the optimiser file read.
    external
        Whether RELION calls an external reconstruction at all.
    mask
        The solvent mask's absolute path, or None.
    mask_missing
        The mask's name where one is set that is not there.
    box, padding, voxel_size_A
        Of the reference, where the model file is there.
    """

    job_dir: Path
    root: str
    iteration: int
    version: str
    external: bool
    blush: bool
    split_halves: bool
    facts: jobdir.RefinementFacts
    mask: Path | None = None
    mask_missing: str | None = None
    box: int | None = None
    padding: float | None = None
    voxel_size_A: float | None = None

    @property
    def session(self) -> str:
        """The key under which the daemon keeps this refinement."""
        return f"{self.job_dir}/{self.root}"

    def as_message(self) -> dict[str, Any]:
        """What a worker needs to prepare the session before the first call, as JSON values."""
        return {
            "session": self.session,
            "job_dir": str(self.job_dir),
            "root": self.root,
            "iteration": self.iteration,
            "mask": str(self.mask) if self.mask else None,
            "box": self.box,
            "padding": self.padding,
            "voxel_size_A": self.voxel_size_A,
            "symmetry": self.facts.symmetry,
        }


def optimisers(names: Iterable[str]) -> dict[str, int]:
    """The latest iteration with an optimiser file, for each output root among file names."""
    latest: dict[str, int] = {}
    for name in names:
        match = OPTIMISER.match(name)
        if match:
            latest[match["root"]] = max(int(match["iteration"]), latest.get(match["root"], 0))
    return latest


def read_refinement(job_dir: Path, root: str, iteration: int) -> RunFolder | None:
    """Read what an iteration's optimiser, sampling and model files say.

    Returns
    -------
    Refinement or None
        None while the optimiser file is absent, unreadable or not yet whole.
    """
    job_dir = job_dir.resolve()
    stem = f"{root}_it{iteration:03d}"
    text = read_text(job_dir / f"{stem}_optimiser.star")
    values = jobdir.scalars(text)
    if _COMPLETE not in values:
        return None
    sampling = read_text(job_dir / f"{stem}_sampling.star")
    model = read_text(job_dir / f"{stem}_half1_model.star") or read_text(job_dir / f"{stem}_model.star")
    start = read_text(job_dir / f"{root}_it000_optimiser.star")
    facts = jobdir.refinement_facts(start, text, sampling, model)
    words = facts.command_line.split()
    mask = None
    if facts.solvent_mask:
        mask = find_from_project(facts.solvent_mask, job_dir, jobdir.option_value(facts.command_line, "--o"))
    model_values = jobdir.scalars(model)
    return RunFolder(
        job_dir=job_dir,
        root=root,
        iteration=iteration,
        version=relion_version(text),
        external=_flag(values, "rlnDoExternalReconstruct", "--external_reconstruct" in words),
        blush=_flag(values, "rlnDoBlush", "--blush" in words),
        split_halves=_flag(values, "rlnDoSplitRandomHalves", "--split_random_halves" in words),
        facts=facts,
        mask=mask,
        mask_missing=facts.solvent_mask if facts.solvent_mask and mask is None else None,
        box=_box(model_values.get("rlnOriginalImageSize")),
        padding=_number(model_values.get("rlnPaddingFactor")),
        voxel_size_A=facts.pixel_size_A,
    )


def read_text(path: Path, limit_bytes: int = jobdir.MAX_TEXT_BYTES) -> str:
    """The text of a plain file, or nothing where there is none to be had (absent, no file, unreadable).

    A file larger than `limit_bytes` is cut: all that is looked for stands at its beginning.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        with open(fd, "rb", closefd=False) as file:
            return file.read(limit_bytes).decode("utf-8", errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def find_from_project(name: str, job_dir: Path, output: str | None) -> Path | None:
    """Find a file that RELION names relative to its project folder; None if it is not there."""
    for folder in project_folders(job_dir, output):
        path = folder / name
        try:
            if path.is_file():
                return path.resolve()
        except (OSError, ValueError):
            return None
    return None


def project_folders(job_dir: Path, output: str | None) -> Iterator[Path]:
    """Where RELION may have been started: what `--o` says, then the usual two folders above, then those beside."""
    if output and not output.startswith("/"):
        inner = Path(output).parent.parts
        if inner and job_dir.parts[-len(inner) :] == inner:
            yield Path(*job_dir.parts[: -len(inner)])
    yield from (job_dir.parent.parent, job_dir.parent, job_dir)


def inside(path: Path, roots: Iterable[Path]) -> bool:
    """Whether a path, links resolved, lies in one of the folders."""
    resolved = path.resolve()
    return any(resolved.is_relative_to(root.resolve()) for root in roots)


def relion_version(optimiser_text: str) -> str:
    """The version in an optimiser file's first line; empty if it does not say."""
    match = re.match(r"# RELION optimiser; version (\S+)", optimiser_text)
    return match[1] if match else ""


def _flag(values: dict[str, str], label: str, otherwise: bool) -> bool:
    return values[label] == "1" if label in values else otherwise


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _box(text: str | None) -> int | None:
    value = _number(text)
    return int(value) if value is not None and 2 <= value <= 65536 else None
