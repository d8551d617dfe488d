"""Particles of any program that is read here, as one set of images with what is known of each.

Rows are joined to images by their number in their stack, never by their order. Tables that stand beside the particles
(poses, CTF, a selection) have a row for each of them, and are refused where they have not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.particles import STACK_ENDINGS

from ..formats.foreign import is_mrc
from ..formats.numpy_header import MAGIC
from ..formats.table_content import opened_table
from .bare_set import set_of_list, set_of_stack
from .cryosparc_set import cryosparc_set
from .given_tables import with_ctf, with_poses, with_selection
from .particle_set import ParticleSet
from .relion_set import relion_set
from .table_choice import TableChoice


def read_particles(
    particles: Path,
    *,
    passthrough: Sequence[Path] = (),
    poses: Path | None = None,
    ctf: Path | None = None,
    selection: Path | None = None,
    datadir: Path | None = None,
    pixel_size_A: float | None = None,
) -> ParticleSet:
    """Read what is known of particles; their stacks are looked at, and no pixel is read.

    Parameters
    ----------
    particles
        A `.star` of RELION 3.0 to 5, a `.cs` of CryoSPARC, a `.txt` with a stack a line, or a stack.
    passthrough
        Files of the same CryoSPARC job.
    poses, ctf
        In the place of what the table says, for all of its particles: `.npz` or `.pkl`.
    selection
        Which of the table's particles are wanted, from 0 on: `.npz`, `.npy`, `.txt` or `.pkl`.
    datadir
        Where stacks are looked for that are not where their paths lead.
    pixel_size_A
        Of the images as they are stored, in the place of what the table says.

    Raises
    ------
    InputInvalid
        One sentence that names the file, and what is wrong with it.
    """
    choice = TableChoice(
        datadir=datadir,
        pixel_size_A=pixel_size_A,
        alignment="refinement" if poses is None else "none",
        ctf=ctf is None,
        sized_elsewhere=ctf is not None and pixel_size_A is None,
    )
    found = read_table_set(particles, passthrough, choice)
    if ctf is not None:
        found = with_ctf(found, ctf, selection, keep_pixel_size=pixel_size_A is not None)
    if poses is not None:
        found = with_poses(found, poses, selection)
    return found if selection is None else with_selection(found, selection)


def read_table_set(particles: Path, passthrough: Sequence[Path], choice: TableChoice) -> ParticleSet:
    """Read one table, or the images of a bare stack, and nothing beside it.

    Raises
    ------
    InputInvalid
        As `read_particles`.
    """
    packed = particles.suffix.lower() in (".gz", ".bz2")
    suffix = (particles.with_suffix("") if packed else particles).suffix.lower()
    with opened_table(particles) as content:
        head = content.head
    is_table = head.startswith(MAGIC)
    if passthrough and not is_table:
        raise InputInvalid(f"{particles}: is no .cs of CryoSPARC, so nothing was passed through; leave those files out")
    if is_table:
        return cryosparc_set(particles, passthrough, choice)
    if suffix in STACK_ENDINGS or is_mrc(head):
        return set_of_stack(particles, choice)
    if suffix == ".txt":
        return set_of_list(particles, choice)
    return relion_set(particles, choice)
