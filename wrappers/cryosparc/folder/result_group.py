"""A result as CryoSPARC exports one: a table (`.cs`), and the group (`.csg`) that its job Import Result Group takes.

What was assumed, by exported groups that others have published: the group is YAML with `created`, `group`, `results`
and `version`; each result names its table, its rows and its type; a ">" before a path says that it begins at the folder
of the group. Files lie beside the group or are linked there, as CryoSPARC links what it exports, so that a copy of the
folder with its links resolved stands for itself.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import yaml

from cryobridge.schemas.errors import CryobridgeError

from ...formats import mrc
from ...formats.cs_table import write_table
from ...formats.whole_file import whole_file, write_all
from ..recipes import GroupType

LINKS = "refinement"
"""Folder beside a group for links to files of another job."""
VERSION = "v4.4.0"
"""Of the CryoSPARC whose groups look like these; an older one could not be expected to read them."""


def write_volume_group(
    folder: Path, name: str, type_: GroupType, title: str, files: Mapping[str, Path], uid: int, project: Path
) -> Path:
    """Write a group of volumes of one row; the path of its `.csg`, which is written last of all.

    Parameters
    ----------
    folder
        Where it lies; files that lie elsewhere are linked.
    name
        Of the output.
    files
        By slot.
    uid
        Of the row: that of the input which it replaces, or a new one.
    project
        Of CryoSPARC: links inside of it are relative, so that it can be moved.

    Raises
    ------
    InputInvalid
        If a file is no volume.
    CryobridgeError
        If it cannot be written.
    """
    columns: dict[str, np.ndarray] = {"uid": np.array([uid], np.uint64)}
    for slot, file in files.items():
        header = mrc.read_header(file)
        columns[f"{slot}/path"] = np.array([f">{_beside(folder, slot, file, project)}"])
        columns[f"{slot}/shape"] = np.array([header.shape], np.uint32)
        columns[f"{slot}/psize_A"] = np.array([header.voxel_size_A[0]], np.float32)
    table, path = folder / f"{name}.cs", folder / f"{name}.csg"
    group = {
        "created": datetime.now(UTC).replace(tzinfo=None),
        "group": {"description": title, "name": name, "title": title, "type": type_},
        "results": {
            slot: {"metafile": f">{table.name}", "num_items": 1, "type": f"{type_}.blob"} for slot in sorted(files)
        },
        "version": VERSION,
    }
    try:
        path.unlink(missing_ok=True)
        write_table(table, columns)
        with whole_file(path) as descriptor:
            write_all(descriptor, yaml.safe_dump(group, allow_unicode=True).encode(), 0)
    except OSError as error:
        raise CryobridgeError(f"{path}: cannot be written: {error.strerror}") from error
    return path


def _beside(folder: Path, slot: str, file: Path, project: Path) -> str:
    """The path of a file from the folder on, by a link where it lies elsewhere."""
    if file.parent == folder:
        return file.name
    link = folder / LINKS / f"{slot}{file.suffix}"
    part = link.with_name(f".{secrets.token_hex(8)}.part")
    here, root = link.parent.resolve(), project.resolve()
    moves_along = here.is_relative_to(root) and file.is_relative_to(root)
    try:
        link.parent.mkdir(exist_ok=True)
        part.symlink_to(os.path.relpath(file, here) if moves_along else file)
        part.replace(link)
    except OSError as error:
        raise CryobridgeError(f"{link}: cannot be made: {error.strerror}") from error
    return f"{LINKS}/{link.name}"
