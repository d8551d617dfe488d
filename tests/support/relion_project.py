"""A project folder of RELION's with a finished refinement in it, and External jobs run there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gemmi import cif

from cryobridge.core.volume.phantom import phantom_pair
from cryobridge.wrappers.formats import mrc

PROGRAM = [sys.executable, "-m", "cryobridge.bridge.commands.relion_job"]
HALF1 = "Refine3D/job001/run_half1_class001_unfil.mrc"
QUICK = "--effort quick --devices cpu"
MARKERS = ("RELION_JOB_EXIT_SUCCESS", "RELION_JOB_EXIT_FAILURE", "RELION_JOB_EXIT_ABORTED")
OF_RELION = {"job.star": "\ndata_job\n\n", "job_pipeline.star": "\ndata_x\n\n", "note.txt": "mine\n", ".CPU1": ""}
"""What RELION has put into a job's folder before the job begins."""


def make_project(folder: Path) -> None:
    """Half-maps of a phantom under RELION's names, and a mask."""
    pair = phantom_pair(32, 3.0, 8.0)
    (folder / "Refine3D/job001").mkdir(parents=True)
    for half in (1, 2):
        values = getattr(pair, f"half{half}").numpy()
        mrc.write_atomically(folder / HALF1.replace("half1", f"half{half}"), values, pair.voxel_size_A)
    mrc.write_atomically(folder / "mask.mrc", pair.mask.numpy(), pair.voxel_size_A)


class RelionJob:
    """One External job in a project, begun as RELION begins it."""

    def __init__(self, project: Path, number: int = 2) -> None:
        self.project = project
        self.name = f"External/job{number:03d}/"
        self.folder = project / self.name
        self.folder.mkdir(parents=True)
        for name, text in OF_RELION.items():
            (self.folder / name).write_text(text)

    def start(self, line: str) -> subprocess.Popen[bytes]:
        """Start the program as RELION does."""
        with (self.folder / "run.out").open("ab") as out, (self.folder / "run.err").open("ab") as err:
            return subprocess.Popen(
                [*PROGRAM, "--o", self.name, *line.split(), "--j", "1", "--pipeline_control", self.name],
                cwd=self.project,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env=dict(os.environ),
            )

    def run(self, line: str) -> int:
        """Run it to its end; its status."""
        return self.start(line).wait(250)

    @property
    def markers(self) -> list[str]:
        """How it ended, as RELION sees it."""
        return [name for name in MARKERS if (self.folder / name).exists()]

    @property
    def said(self) -> str:
        """What it printed."""
        return (self.folder / "run.out").read_text() + (self.folder / "run.err").read_text()

    def untouched(self) -> bool:
        """Whether RELION's own files are as they were."""
        return all((self.folder / name).read_text() == text for name, text in OF_RELION.items())

    def nodes(self) -> dict[str, tuple[str, str]]:
        """Label and number by the name of the node."""
        block = cif.read_file(str(self.folder / "RELION_OUTPUT_NODES.star")).find_block("output_nodes")
        columns = ["_rlnPipeLineNodeName", "_rlnPipeLineNodeTypeLabel", "_rlnPipeLineNodeType"]
        return {row[0]: (row[1], row[2]) for row in block.find(columns)}
