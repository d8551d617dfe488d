"""`particles.downsample`: images of particles, or a volume, at a smaller box."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.core.particles import downsampled_images, downsampled_volume
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.particles.downsample import BATCH_BYTES, ParticlesDownsampleJob
from cryobridge.wrappers.formats import mrc, star
from cryobridge.wrappers.formats.cs_table import joined, read_table, table_bytes
from cryobridge.wrappers.formats.stack_writer import StackWriter
from cryobridge.wrappers.particles.given_tables import selected_rows
from cryobridge.wrappers.particles.image_reader import read_images
from cryobridge.wrappers.particles.particle_set import ParticleSet
from cryobridge.wrappers.particles.reading import read_table_set
from cryobridge.wrappers.particles.rewritten_tables import downsampled_cs, downsampled_star
from cryobridge.wrappers.particles.table_choice import TableChoice

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report import methods
from ...report.page import Report, as_html

VOLUME, STACK, LIST, STAR, CS = "volume.mrc", "particles.mrcs", "particles.txt", "particles.star", "particles.cs"


@dataclass(frozen=True)
class _MadeStack:
    """One stack that is made: its name, and which images (K,) of the set go into it."""

    name: str
    members: NDArray[np.int64]


def run(job: ParticlesDownsampleJob, context: Context) -> JobSteps:
    """Write the stacks, the table that goes with them, and the report."""
    if job.options.is_volume:
        return (yield from _volume(job, context))
    folder, options = context.folder, job.options
    if options.flip or options.invert:
        raise InputInvalid(
            f"{job.inputs.particles}: 'flip' and 'invert' are for volumes ('is_volume'); the contrast of images is "
            "found from them, so leave these out"
        )
    particles = _particles(job)
    if options.box > particles.box:
        raise InputInvalid(
            f"{job.inputs.particles}: its images have {particles.box} pixels along a side, fewer than the 'box' of "
            f"{options.box}; give a smaller one"
        )
    stacks = _stacks(job, particles)
    tables = _tables(job, particles, stacks, folder.path)
    folder.mark("read")
    yield Progress(f"{len(particles)} images of {particles.box} pixels", 0.0)
    remarks = [*particles.remarks, *_said(job, particles)]
    yield from context.remarked(remarks)

    done = 0
    for stack in stacks:
        done = yield from _write(job, context, particles, stack, done)
    folder.mark("downsample")
    for name, data in tables.items():
        folder.write_data(name, data)
    size_A = float(_new_size(job, particles)[0])
    _write_report(job, context, f"{len(particles)} images of {particles.box} pixels", remarks, size_A)
    return folder.finish(
        metrics={
            "particles": len(particles),
            "box": options.box,
            "pixel_size_A": round(size_A, 6),
            "stacks": len(stacks),
        }
    )


def _particles(job: ParticlesDownsampleJob) -> ParticleSet:
    """The images that are wanted, without poses and CTF."""
    choice = TableChoice(datadir=job.inputs.datadir, pixel_size_A=job.options.pixel_size_A, alignment="none", ctf=False)
    found = read_table_set(job.inputs.particles, job.inputs.passthrough or (), choice)
    if job.inputs.selection is None:
        return found
    return found.of(selected_rows(job.inputs.selection, len(found), found.name))


def _new_size(job: ParticlesDownsampleJob, particles: ParticleSet) -> NDArray[np.float64]:
    return particles.pixel_size_A * particles.box / job.options.box


def _said(job: ParticlesDownsampleJob, particles: ParticleSet) -> list[str]:
    said = []
    least, most = float(particles.pixel_size_A.min()), float(particles.pixel_size_A.max())
    if least != most:
        said.append(f"Pixel sizes are {least:g} to {most:g} A; a stack's header has that of its first image.")
    if job.options.pixel_size_A is not None and particles.source is not None:
        said.append(
            "'pixel_size_A' is for the headers of the stacks; a pixel size that the table has is scaled as it is."
        )
    return said


def _stacks(job: ParticlesDownsampleJob, particles: ParticleSet) -> list[_MadeStack]:
    """One for all, one for each chunk, or one for each stack of a list."""
    members = np.arange(len(particles))
    chunk = job.options.chunk
    if chunk is not None:
        parts = [members[at : at + chunk] for at in range(0, len(members), chunk)]
    elif _is_list(job):
        parts = [members[particles.stack == stack] for stack in range(len(particles.stacks))]
        parts = [part for part in parts if len(part)]
    else:
        return [_MadeStack(STACK, members)]
    return [_MadeStack(f"particles.{number}.mrcs", part) for number, part in enumerate(parts)]


def _is_list(job: ParticlesDownsampleJob) -> bool:
    return job.inputs.particles.suffix.lower() == ".txt"


def _names(stacks: Sequence[_MadeStack], output: Path) -> list[str]:
    """Each image as "number@stack", by the full path of the output folder: RELION and CryoSPARC start at a project."""
    return [f"{at:06d}@{output / stack.name}" for stack in stacks for at in range(1, len(stack.members) + 1)]


def _write(
    job: ParticlesDownsampleJob, context: Context, particles: ParticleSet, stack: _MadeStack, done: int
) -> Generator[Progress, None, int]:
    """Write one stack batch by batch; give how many images are done with it."""
    options = job.options
    batch = options.batch or max(1, BATCH_BYTES // (4 * particles.box**2))
    factor = (options.box / particles.box) ** 2 if options.scale == "mean" else 1.0
    size_A = float(_new_size(job, particles)[stack.members[0]])
    with context.folder.writing(stack.name) as descriptor:
        writer = StackWriter(descriptor, options.box, size_A, half_precision=options.half_precision)
        for at in range(0, len(stack.members), batch):
            members = stack.members[at : at + batch]
            images = torch.from_numpy(read_images(particles, members)).to(context.device)
            smaller = factor * downsampled_images(images, options.box)
            try:
                writer.append(smaller.cpu().numpy())
            except ValueError as error:
                raise InputInvalid(f"{particles.name}: gives {error}; turn 'half_precision' off") from error
            done += len(members)
            yield Progress(f"{done} of {len(particles)} images", done / len(particles))
        writer.finish()
    return done


def _tables(
    job: ParticlesDownsampleJob, particles: ParticleSet, stacks: Sequence[_MadeStack], output: Path
) -> dict[str, bytes]:
    """The table in the format that the input is of, and a list of stacks where there are several, by name.

    They are made before any image is, so that nothing is written where a table cannot be.
    """
    path, names = particles.source, _names(stacks, output)
    found: dict[str, bytes] = {}
    if path is not None and '"' in str(output):
        raise InputInvalid(f"{output} (output): a table cannot name what lies there, for its quotation mark")
    if path is not None and particles.uid is not None:
        columns = joined(read_table(path), [read_table(one) for one in job.inputs.passthrough or ()], str(path))
        changed = downsampled_cs(columns, particles.rows, names, particles.box, job.options.box, particles.pixel_size_A)
        found[CS] = table_bytes(changed)
    elif path is not None:
        blocks = downsampled_star(path, particles.rows, names, particles.box, job.options.box)
        try:
            found[STAR] = star.format_blocks(blocks).encode()
        except ValueError as error:
            raise InputInvalid(f"{path}: holds a value that cannot be written again ({error}); mend it") from error
    if job.options.chunk is not None or _is_list(job):
        found[LIST] = "".join(f"{stack.name}\n" for stack in stacks).encode()
    return found


def _volume(job: ParticlesDownsampleJob, context: Context) -> JobSteps:
    """Write the volume, and the report."""
    folder, options, path = context.folder, job.options, job.inputs.particles
    if job.inputs.selection is not None or job.inputs.passthrough or options.chunk is not None:
        raise InputInvalid(f"{path}: is a volume, which has no selection, passthrough files or chunks; leave them out")
    values, header = mrc.read(path)
    box = values.shape[0]
    if values.shape != (box, box, box) or box % 2 or options.box > box:
        raise InputInvalid(
            f"{path}: has {' x '.join(map(str, values.shape[::-1]))} voxels; a cube of an even number along a side is "
            f"needed, no fewer than the 'box' of {options.box}"
        )
    size_A = options.pixel_size_A or header.voxel_size_A[0]
    if size_A <= 0:
        raise InputInvalid(f"{path}: does not say its voxel size; give 'pixel_size_A'")
    yield Progress(f"a volume of {box} voxels along a side", 0.5)
    factor = (options.box / box) ** 3 if options.scale == "mean" else 1.0
    smaller = factor * downsampled_volume(torch.from_numpy(values).to(context.device), options.box)
    if options.flip:
        # About the voxel in the middle, n / 2, which stays where it is.
        smaller = smaller.flip(0).roll(1, 0)
    if options.invert:
        smaller = -smaller
    new_size_A = size_A * box / options.box
    position = mrc.MapPosition(origin_A=header.position.origin_A)
    folder.write_map(VOLUME, smaller, new_size_A, position)
    _write_report(job, context, f"a volume of {box} voxels along a side", [], new_size_A)
    return folder.finish(metrics={"box": options.box, "pixel_size_A": round(new_size_A, 6)})


def _write_report(
    job: ParticlesDownsampleJob, context: Context, what: str, remarks: Sequence[str], size_A: float
) -> None:
    options = job.options
    values = "as sums over pixels, as cryoDRGN has them" if options.scale == "sum" else "as means, as large as before"
    text = (
        f"Images were downsampled to {options.box} pixels of {size_A:.4g} A along a side by a crop of their Hartley "
        "transform."
    )
    paragraphs, references = methods.write([methods.Passage(text)])
    page = Report(
        title="Downsampled images",
        summary=f"{what[0].upper()}{what[1:]}, now {options.box} of {size_A:.4g} A (Nyquist {2 * size_A:.4g} A).",
        facts={
            "input": str(job.inputs.particles),
            "new box": f"{options.box} px",
            "new pixel size": f"{size_A:.4g} A",
            "values": values,
        },
        figures=[],
        statements=remarks,
        methods=paragraphs,
        references=references,
    )
    context.folder.write_text(REPORT_NAME, as_html(page))
