"""`particles.parse`: poses and CTF parameters of a table of particles, as plain arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.core.fourier import fibonacci_directions
from cryobridge.core.particles import Ctf, HalfDisc, ctf_values
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.particles.parse import ParseOptions, ParticlesParseJob
from cryobridge.wrappers.formats.array_file import arrays_bytes
from cryobridge.wrappers.particles.legacy_tables import legacy_ctf, legacy_poses
from cryobridge.wrappers.particles.particle_set import CtfColumns, ParticleSet
from cryobridge.wrappers.particles.reading import read_table_set
from cryobridge.wrappers.particles.set_arrays import arrays_of
from cryobridge.wrappers.particles.table_choice import TableChoice

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report import figures, methods, readings
from ...report.page import Figure, Report, as_html
from ...report.quantities import angstrom

RESULT, POSES, CTF = "particles.npz", "pose.pkl", "ctf.pkl"
DEFOCUS, CURVE = "defocus.csv", "ctf.csv"
_GIVEN = ("voltage_kV", "cs_mm", "amplitude_contrast", "phase_shift_deg")
_DIRECTIONS, _CAP, _BINS, _MOST_SHOWN = 2000, 0.08, 40, 100_000


def run(job: ParticlesParseJob, context: Context) -> JobSteps:
    """Write the arrays, cryoDRGN's pickles where they are asked for, and the report."""
    folder, options = context.folder, job.options
    particles = read_table_set(job.inputs.particles, job.inputs.passthrough or (), _choice(job))
    if particles.rotations is None and particles.ctf is None:
        raise InputInvalid(
            f"{job.inputs.particles}: has neither poses nor CTF parameters; {' '.join(particles.remarks)}"
        )
    legacy: dict[str, bytes] = {}
    if options.legacy and particles.rotations is not None:
        legacy[POSES] = legacy_poses(particles)
    if options.legacy and particles.ctf is not None:
        legacy[CTF] = legacy_ctf(particles)
    remarks = [*particles.remarks, *_given(options)]
    folder.mark("read")
    yield Progress(f"read {len(particles)} particles", 0.5)
    yield from context.remarked(remarks)

    folder.write_data(RESULT, arrays_bytes(arrays_of(particles)))
    for name, data in legacy.items():
        folder.write_data(name, data)
    page_figures = _views(particles) if particles.rotations is not None else []
    if particles.ctf is not None:
        for figure, rows in (_defocus(particles.ctf), _curve(particles, particles.ctf)):
            page_figures.append(figure)
            folder.write_text(figure.table, rows)
    folder.write_text(REPORT_NAME, as_html(_report(job, particles, page_figures, remarks)))
    return folder.finish(
        metrics={
            "particles": len(particles),
            "box": particles.box,
            "has_poses": particles.rotations is not None,
            "has_ctf": particles.ctf is not None,
            "optics_groups": len(np.unique(particles.optics_group)),
            "tilt_series": 0 if particles.tilts is None else int(particles.tilts.particle.max()) + 1,
        }
    )


def _choice(job: ParticlesParseJob) -> TableChoice:
    options = job.options
    given = {name: value for name in _GIVEN if (value := getattr(options, name)) is not None}
    return TableChoice(
        datadir=job.inputs.datadir,
        pixel_size_A=options.pixel_size_A,
        box=options.box,
        alignment=options.alignment,
        ctf_given=given,
        images=job.inputs.datadir is not None,
    )


def _given(options: ParseOptions) -> list[str]:
    """What was believed rather than the table."""
    said = {name: getattr(options, name) for name in ("box", "pixel_size_A", *_GIVEN)}
    words = ", ".join(f"{name} {value:g}" for name, value in said.items() if value is not None)
    return [f"In the place of what the table says: {words}."] if words else []


def _views(particles: ParticleSet) -> list[Figure]:
    """Where the views lie: the third row of each matrix is the object's direction towards the beam."""
    rotations = particles.rotations
    if rotations is None:
        return []
    step = max(1, math.ceil(len(rotations) / _MOST_SHOWN))
    towards = torch.from_numpy(np.ascontiguousarray(rotations[::step, 2, :])).float()
    directions = fibonacci_directions(_DIRECTIONS, torch.device("cpu"))
    density = _density(towards, directions)
    return [
        Figure(
            "Distribution of views",
            figures.view_density(directions, density),
            readings.view_density(density.tolist()),
            is_tile=True,
        )
    ]


def _density(towards: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Views within a cap about each direction, in parts of their mean; (k,)."""
    counts = torch.zeros(len(directions))
    for part in torch.split(towards, 4096):
        counts += (directions.float() @ part.T > 1.0 - _CAP * _CAP / 2).sum(dim=1)
    return counts / counts.mean().clamp_min(1e-12)


def _defocus(ctf: CtfColumns) -> tuple[Figure, str]:
    mean_A = 0.5 * (ctf.defocus_u_A + ctf.defocus_v_A)
    counts, edges = np.histogram(mean_A, bins=_BINS)
    astigmatism_A = np.abs(ctf.defocus_u_A - ctf.defocus_v_A)
    reading = (
        f"Half of the particles lie below {1e-4 * np.median(mean_A):.2f} µm, all between {1e-4 * mean_A.min():.2f} and "
        f"{1e-4 * mean_A.max():.2f} µm; the median astigmatism is {np.median(astigmatism_A):.0f} A."
    )
    rows = [(*edges_and_count,) for edges_and_count in zip(edges[:-1], edges[1:], counts, strict=True)]
    table = _table(("from_A", "to_A", "particles"), rows)
    return Figure("Defocus", figures.defocus_histogram(edges, counts), reading, table=DEFOCUS), table


def _curve(particles: ParticleSet, ctf: CtfColumns) -> tuple[Figure, str]:
    """The CTF of the particle of median defocus, along x."""
    mean_A = ctf.defocus_u_A + ctf.defocus_v_A
    row = int(np.argsort(mean_A)[len(mean_A) // 2])
    one = ctf.of(np.array([row]))
    parameters = Ctf(**{name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in vars(one).items()})
    shells = torch.arange(1, particles.box // 2 + 1)
    disc = HalfDisc(particles.box, torch.stack([shells, torch.zeros_like(shells)], dim=1), shells.float())
    size_A = particles.pixel_size_A[row]
    values = ctf_values(parameters, disc, torch.tensor([size_A]))[0].numpy()
    frequency = shells.numpy() / (particles.box * size_A)
    turns = np.flatnonzero(np.diff(np.signbit(values)))
    first = f"its first zero is at {angstrom(1 / frequency[turns[0]])}" if len(turns) else "it has no zero"
    reading = (
        f"Particle {row + 1}, of median defocus ({0.5e-4 * mean_A[row]:.2f} µm), along x: {first}. "
        "Shown in RELION's sign, positive at low frequencies."
    )
    table = _table(("frequency_per_A", "ctf"), list(zip(frequency, values, strict=True)))
    return Figure("CTF", figures.ctf_curve(frequency, values), reading, table=CURVE), table


def _table(names: Sequence[str], rows: Sequence[Sequence[float]]) -> str:
    return "\n".join([",".join(names), *(",".join(f"{value:.7g}" for value in row) for row in rows)]) + "\n"


def _range(values: NDArray[np.float64], unit: str) -> str:
    least, most = float(values.min()), float(values.max())
    return f"{least:g} {unit}" if least == most else f"{least:g} to {most:g} {unit}"


def _report(
    job: ParticlesParseJob, particles: ParticleSet, page_figures: Sequence[Figure], remarks: Sequence[str]
) -> Report:
    ctf = particles.ctf
    facts = {
        "particles": str(job.inputs.particles),
        "number of particles": str(len(particles)),
        "box": f"{particles.box} px",
        "pixel size": _range(particles.pixel_size_A, "A"),
        "optics groups": str(len(np.unique(particles.optics_group))),
        "alignments": "none" if particles.rotations is None else job.options.alignment,
        "contrast": "not said" if particles.contrast is None else particles.contrast,
    }
    if ctf is not None:
        facts["voltage"] = _range(ctf.voltage_kV, "kV")
        facts["spherical aberration"] = _range(ctf.cs_mm, "mm")
        facts["amplitude contrast"] = _range(ctf.amplitude_contrast, "")
    paragraphs, references = methods.write(
        [methods.Passage(f"Poses and CTF parameters of {len(particles)} particles were read from their table.")]
    )
    return Report(
        title="Poses and CTF of particles",
        summary=f"{len(particles)} particles, with {'' if particles.rotations is not None else 'no '}poses and "
        f"{'' if ctf is not None else 'no '}CTF parameters.",
        facts=facts,
        figures=page_figures,
        statements=remarks,
        methods=paragraphs,
        references=references,
    )
