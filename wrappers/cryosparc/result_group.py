"""A result group as CryoSPARC exports one: a table (`.cs`), and the file (`.csg`) that Import Result Group takes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import yaml

from ..formats import mrc
from ..formats.cs_table import write_table
from ..formats.whole_file import whole_file, write_all
from .recipes import GroupType, Slot

_VERSION = "v4.4.0"
"""From this on the format has been as it is written here."""


def write_volume_group(
    folder: Path, name: str, type_: GroupType, title: str, files: Sequence[tuple[Slot, Path]]
) -> Path:
    """Write a group of volumes that lie in the same folder; the path of its `.csg`.

    Parameters
    ----------
    files
        Slot and file of each.
    """
    columns: dict[str, np.ndarray] = {"uid": np.array([_number(files)], np.uint64)}
    for slot, file in files:
        header = mrc.read_header(file)
        columns[f"{slot.name}/path"] = np.array([f">{os.path.relpath(file, folder)}"])
        columns[f"{slot.name}/shape"] = np.array([header.shape], np.uint32)
        columns[f"{slot.name}/psize_A"] = np.array([header.voxel_size_A[0]], np.float32)
    table = folder / f"{name}.cs"
    write_table(table, columns)
    group = {
        "created": datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
        "group": {"description": title, "name": name, "title": title, "type": type_},
        "results": {
            slot.name: {"metafile": f">{table.name}", "num_items": 1, "type": f"{type_}.{slot.dtype}"}
            for slot, _ in files
        },
        "version": _VERSION,
    }
    path = folder / f"{name}.csg"
    with whole_file(path) as descriptor:
        write_all(descriptor, yaml.safe_dump(group, sort_keys=False).encode(), 0)
    return path


def _number(files: Sequence[tuple[Slot, Path]]) -> int:
    """A row's id, the same for the same files of the same times."""
    told = " ".join(f"{file} {file.stat().st_mtime_ns}" for _, file in files)
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "little")
