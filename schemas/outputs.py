"""What a kind of job leaves in its output folder: names, types and roles, declared once on its class.

The runner holds every job to it, `result.json` repeats it, and whoever hands results on (nodes of RELION's pipeline,
outputs of CryoSPARC, a web page) needs no more to tell a half-map from a mask.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

OutputType = Literal[
    "map",
    "half_map",
    "mask",
    "fourier_volume",
    "tomogram",
    "star",
    "particles",
    "images",
    "arrays",
    "model",
    "table",
    "report",
    "picture",
    "script",
    "log",
]
"""map, half_map, mask, tomogram: volumes (MRC); half_map has a partner of the role half1 or half2 beside it.
fourier_volume: by Fourier voxel, the origin at the centre of the box, e.g. a 3DFSC (MRC). particles, star: tables of
particles, other STAR files. images: a stack of images (MRC). arrays: numbers by name (.npz, or cryoDRGN's .pkl).
model: a network (safetensors). table: CSV. picture: PNG. script: for ChimeraX."""


@dataclass(frozen=True)
class Output:
    """A file, or a family of files of one sort, that a job leaves.

    Attributes
    ----------
    pattern
        Name in the output folder; `*` stands for anything where there are several.
    type
        What it is.
    role
        What it is to this kind: a word that stays the same whatever the file is called. One role, one output.
    description
        One line.
    always
        Whether every job of the kind leaves it.
    """

    pattern: str
    type: OutputType
    role: str
    description: str
    always: bool = True

    def names(self, name: str) -> bool:
        """Whether a file of this name is this output."""
        return fnmatch.fnmatchcase(name, self.pattern)


PREVIEW = Output(
    "preview.png", "picture", "preview", "what a network made of the data when it was last looked at", always=False
)
REPORT = Output("report.html", "report", "report", "what was done and found, with figures; needs no other file")


def output_of(outputs: Iterable[Output], name: str) -> Output | None:
    """The declaration that a file of this name falls under, or None."""
    return next((output for output in outputs if output.names(name)), None)


def undeclared(outputs: Iterable[Output], names: Iterable[str]) -> list[str]:
    """In what the files of a finished job differ from what its kind declares, one sentence each.

    Parameters
    ----------
    outputs
        Of the kind.
    names
        Of the files that were written.
    """
    declared, written = tuple(outputs), tuple(names)
    complaints = [f"{name} was written, but is not declared" for name in written if output_of(declared, name) is None]
    complaints += [
        f"{output.pattern} is declared, but was not written"
        for output in declared
        if output.always and not any(output.names(name) for name in written)
    ]
    return complaints
