"""Paths in tables of tomograms: where a written one leads, and how one is written."""

from __future__ import annotations

import os
from pathlib import Path

VOLUME_ENDINGS = (".mrc", ".rec", ".map", ".mrcs", ".st", ".ali", ".hdf", ".gz", ".bz2")
"""By these a value of `rlnTomoName` is known for a file's name: RELION 5 has only the tomogram's name there."""


def found_from(folder: Path, text: str) -> Path:
    """The file that a table means.

    Parameters
    ----------
    folder
        The table's.
    text
        As written: absolute, or from the table's folder, or from one of its parents, as in a project of RELION, whose
        names start at the project's folder.

    Returns
    -------
    The first that exists; under the table's own folder if none does.
    """
    written, here = Path(text).expanduser(), folder.absolute()
    if written.is_absolute():
        return written
    candidates = (parent / written for parent in (here, *here.parents))
    return Path(os.path.normpath(next((path for path in candidates if _exists(path)), here / written)))


def text_of(path: Path, table: Path) -> str:
    """A path as it is written into a table: from its folder where it lies inside, else absolute."""
    folder, whole = _normal(table.parent), _normal(path)
    for of_folder, of_file in ((folder, whole), (os.path.realpath(folder), _real(whole))):
        if of_file.startswith(f"{of_folder.rstrip('/')}/"):
            return os.path.relpath(of_file, of_folder)
    return whole


def is_volume_name(text: str) -> bool:
    """Whether a value is a file's name rather than a tomogram's."""
    return "/" in text or text.lower().endswith(VOLUME_ENDINGS)


def root_of(path: Path) -> str:
    """Name of a file without its ending, nor that of a packed one."""
    return Path(path.name.removesuffix(".gz").removesuffix(".bz2")).stem


def _real(path: str) -> str:
    """A path whose folder has no links; the file itself may be one, whose name counts."""
    return str(Path(path).parent.resolve() / Path(path).name)


def _normal(path: Path) -> str:
    """Absolute and without `..`; links stay as the user named them."""
    return os.path.normpath(path.absolute())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
