"""The demo's last step: the half-maps that a refinement leaves, corrected and judged by jobs written as commands."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np

from .particles import Particles
from .quality import fsc_to_truth
from .refinement import unfiltered_name
from .specimen import solvent_mask


@dataclass(frozen=True)
class Command:
    """A job as it was run: the words after `cryobridge`, and where its result lies."""

    words: tuple[str, ...]
    output: Path


def run_jobs(project: Path, output: Path, program: Path, steps: int) -> list[Command]:
    """Correct the last half-maps of a project, and judge what came out.

    Parameters
    ----------
    project
        With the unfiltered half-maps and the mask of a refinement.
    output
        New folders for the results are made in it.
    program
        The installed command `cryobridge`.
    steps
        Of training.

    Raises
    ------
    RuntimeError
        If a job fails.
    """
    halves = [str(project / unfiltered_name(half)) for half in (1, 2)]
    mask = ["--mask", str(project / "data/mask.mrc")]
    corrected, diagnosis = output / "corrected", output / "diagnosis"
    both = [f"--corrected{half}={corrected / f'corrected_half{half}.mrc'}" for half in (1, 2)]
    commands = [
        Command(("map", "correct", *halves, *mask, "--steps", str(steps), "-o", str(corrected)), corrected),
        Command(("map", "diagnose", *halves, *mask, *both, "-o", str(diagnosis)), diagnosis),
    ]
    for command in commands:
        if subprocess.run([str(program), *command.words, "--overwrite"], stdin=subprocess.DEVNULL).returncode != 0:
            raise RuntimeError(f"{' '.join(command.words)} failed")
    return commands


def summary(project: Path, corrected: Path, particles: Particles, last_shell: int) -> str:
    """FSC to the truth before and after, for the terminal; means of both half-maps."""
    mask = solvent_mask(particles.truth)
    before = [project / unfiltered_name(half) for half in (1, 2)]
    after = [corrected / f"corrected_half{half}.mrc" for half in (1, 2)]
    rows = []
    for paths in (before, after):
        mean = np.mean([mrcfile.read(path).astype(np.float64) for path in paths], axis=0)
        rows.append(fsc_to_truth(mean, particles.truth, mask).means(last_shell))
    names = ("overall", "badly sampled cone", "elsewhere")
    lines = [f"{'mean FSC to the truth':42s} half-maps  corrected"]
    lines += [f"  {name:40s} {b:8.3f}  {a:9.3f}" for name, b, a in zip(names, *rows, strict=True)]
    return "\n".join(lines)
