"""A folder such as a refinement of CryoSPARC leaves: tables and maps of several iterations, and a project around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cryobridge.wrappers.cryosparc.folder.job_folder import FolderInputs, Folders, inputs_of_folders
from cryobridge.wrappers.cryosparc.options_block import MaskChoice
from cryobridge.wrappers.cryosparc.recipes import recipes
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.cs_table import write_table

BOX, VOXEL_A = 8, 2.0
SLOTS = ("map", "map_sharp", "map_half_A", "map_half_B", "mask_refine", "mask_fsc", "mask_fsc_auto")


class MadeUpJob:
    """A job J42 of a project.

    Attributes
    ----------
    project, folder
        The project's folder, and the job's in it.
    """

    def __init__(self, where: Path, name: str = "J42", prefix: str = "") -> None:
        self.project = where / "CS-project"
        self.folder = self.project / name
        self.folder.mkdir(parents=True)
        (self.project / "project.json").write_text("{}")
        self.stem = f"{prefix}{name}"

    def map(self, name: str, seed: int = 0) -> Path:
        """Write a map into the job's folder."""
        volume = np.random.default_rng(seed).normal(size=(BOX, BOX, BOX)).astype(np.float32)
        mrc.write_atomically(self.folder / name, volume, VOXEL_A)
        return self.folder / name

    def volume(
        self, iteration: str, slots: Sequence[str] = SLOTS, *, uid: int = 7, output: str = "volume", before: str = ""
    ) -> Path:
        """Write the maps of an iteration ("003_"), and their table; its path."""
        paths = {}
        for number, slot in enumerate(slots):
            name = f"{self.stem}_{iteration}{output}_{slot}.mrc"
            self.map(name, number)
            paths[slot] = f"{before}{self.folder.name}/{name}"
        return self.table(f"{self.stem}_{iteration}{output}.cs", paths, uid)

    def table(self, name: str, paths: Mapping[str, str], uid: int = 7) -> Path:
        """Write a table of one volume that names these files."""
        columns: dict[str, np.ndarray] = {"uid": np.array([uid], np.uint64)}
        for slot, path in paths.items():
            columns[f"{slot}/path"] = np.array([path])
            columns[f"{slot}/shape"] = np.full((1, 3), BOX, np.uint32)
            columns[f"{slot}/psize_A"] = np.array([VOXEL_A], np.float32)
        write_table(self.folder / name, columns)
        return self.folder / name

    def particles(self, name: str, slots: Sequence[str], uids: Sequence[int] = (1, 2, 3), shift: float = 0.0) -> Path:
        """Write a table of particles with these slots."""
        rows = len(uids)
        columns: dict[str, np.ndarray] = {"uid": np.array(uids, np.uint64)}
        if "blob" in slots:
            columns |= {"blob/path": np.array(["J40/stack.mrc"] * rows), "blob/idx": np.arange(rows, dtype=np.uint32)}
        for one in ("alignments3D", "alignments3D_multi"):
            if one in slots:
                columns[f"{one}/pose"] = np.array([[0.1 * uid, 0.2, 0.3] for uid in uids], np.float32)
                columns[f"{one}/shift"] = np.full((rows, 2), shift, np.float32)
                columns[f"{one}/psize_A"] = np.full(rows, VOXEL_A, np.float32)
                columns[f"{one}/split"] = np.arange(rows, dtype=np.uint32) % 2
        write_table(self.folder / name, columns)
        return self.folder / name


def found(
    job: MadeUpJob,
    kind: str = "map.fsc3d",
    *,
    place: Path | None = None,
    use_mask: MaskChoice = "auto",
    also_read: tuple[Path, ...] = (),
    **others: Path,
) -> FolderInputs:
    """What a kind finds in the job's folder, or another place."""
    folders = Folders(place or job.folder, others, also_read)
    return inputs_of_folders(recipes()[kind], folders, use_mask, job.project.parent / "work")


def names_of(inputs: FolderInputs) -> dict[str, str]:
    """Names of the files that were found, by the job's keys."""
    return {key: path.name for key, path in inputs.paths.items()}
