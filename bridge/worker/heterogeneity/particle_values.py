"""What is known of each particle, by the name of a column: for conditions, outlines and figures."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded
from cryobridge.wrappers.formats.array_file import read_arrays
from cryobridge.wrappers.formats.pickled_arrays import read_pickled
from cryobridge.wrappers.particles.particle_set import ParticleSet

Values = dict[str, NDArray[np.float64]]
"""Columns (N,) by name."""

_MOST_CSV_BYTES = 1 << 30
_MOST_COLUMNS = 512
_CALLED = {
    "latents": "z",
    "pcs": "pc",
    "pca": "pc",
    "labels": "cluster",
    "label": "cluster",
    "clusters": "cluster",
    "states": "state",
}
"""Names that are known for a column under another of ours."""


def values_of_set(particles: ParticleSet) -> Values:
    """What a set says itself: CTF in the units of the names, origins, view, groups and half-sets.

    `rot_deg` and `tilt_deg` are RELION's angles; `optics_group` is the row of the optics table, from 1 on; `half` is 0
    where it is not known.
    """
    found: Values = {
        "index": np.arange(len(particles), dtype=np.float64),
        "pixel_size_A": particles.pixel_size_A.astype(np.float64),
        "optics_group": (particles.optics_group + 1).astype(np.float64),
        "micrograph": particles.micrograph.astype(np.float64),
        "half": particles.half.astype(np.float64),
    }
    if particles.ctf is not None:
        found |= {name: values.astype(np.float64) for name, values in vars(particles.ctf).items()}
    if particles.shifts_A is not None:
        found |= {"shift_x_A": particles.shifts_A[:, 0], "shift_y_A": particles.shifts_A[:, 1]}
    if particles.rotations is not None:
        x, y, z = np.moveaxis(particles.rotations[:, 2], -1, 0)
        found |= {
            "rot_deg": np.degrees(np.arctan2(y, x)),
            "tilt_deg": np.degrees(np.arccos(np.clip(z, -1.0, 1.0))),
        }
    if particles.tilts is not None:
        found |= {
            "particle": particles.tilts.particle.astype(np.float64),
            "stage_tilt_deg": particles.tilts.tilt_deg,
            "dose_e_A2": particles.tilts.dose_e_A2,
        }
    return found


def values_of_latents(latents: NDArray[np.float32]) -> Values:
    """Latents (N, zdim) as z1, z2, ..."""
    return {f"z{number}": column.astype(np.float64) for number, column in enumerate(latents.T, 1)}


def values_of_file(path: Path, count: int) -> Values:
    """Columns of a file that has something to say of each particle.

    An array (N,) is a column of its name, an array (N, k) is as many, numbered from 1 on: `z` gives z1, z2, ... Arrays
    of another length are about something else and are passed over.

    Parameters
    ----------
    count
        Number of particles, N.

    Raises
    ------
    InputInvalid
        If it cannot be read, or nothing in it is about N particles.
    """
    arrays = _arrays(path)
    found = {
        name: column
        for raw, array in arrays.items()
        if array.dtype.kind in "biuf" and array.ndim in (1, 2) and len(array) == count
        for name, column in _columns(_CALLED.get(raw, raw), array)
    }
    if not found:
        lengths = ", ".join(str(length) for length in sorted({len(array) for array in arrays.values() if array.ndim}))
        raise InputInvalid(
            f"{path}: says nothing of {count} particles (it holds arrays of length {lengths or 'none'}); give "
            "values of the same run"
        )
    return found


def expect_column(values: Mapping[str, NDArray[np.float64]], name: str, what: str) -> NDArray[np.float64]:
    """A column (N,).

    Parameters
    ----------
    what
        What asks for it, for the message.

    Raises
    ------
    InputInvalid
        If there is none of this name.
    """
    if name in values:
        return values[name]
    known = ", ".join(_in_short(values))
    more = " (give the analysis.npz of vae.analyze as 'values')" if re.match(r"(pc|umap|cluster|state)", name) else ""
    raise InputInvalid(f"{what}: there is no column '{name}'{more}; there are {known}")


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _table(path)
    if suffix != ".pkl":
        return read_arrays(path)
    # cryoDRGN's files hold no names: latents are z.N.pkl, coordinates umap.pkl, clusters labels.pkl.
    values = [np.asarray(value) for value in read_pickled(path)]
    return {path.name.partition(".")[0]: values[0]} if values else {}


def _columns(name: str, array: NDArray[np.generic]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    if array.ndim == 1:
        yield name, array.astype(np.float64)
        return
    for number in range(min(array.shape[1], _MOST_COLUMNS)):
        yield f"{name}{number + 1}", array[:, number].astype(np.float64)


def _in_short(values: Mapping[str, NDArray[np.float64]]) -> Iterator[str]:
    """Names, those with numbers from 1 on as a range: z1..z8."""
    last: dict[str, int] = {}
    for name in values:
        match = re.fullmatch(r"([A-Za-z_]*[A-Za-z_])(\d+)", name)
        last[match[1] if match else name] = int(match[2]) if match else 0
    for stem, number in last.items():
        yield f"{stem}1..{stem}{number}" if number > 1 else f"{stem}1" if number else stem


def _table(path: Path) -> dict[str, NDArray[np.generic]]:
    """The columns of a CSV table whose first row are names; those that hold no numbers are left out."""
    text = read_bounded(path, _MOST_CSV_BYTES, is_a="a table has a row for each particle")
    try:
        # Lines may end as those of any system do.
        rows = list(csv.reader(io.StringIO(text, newline=None)))
    except csv.Error as error:
        raise InputInvalid(f"{path}: is no table of comma-separated values ({error}); write it again") from error
    # Only at the end: left out between others, an empty line would give all that follow another particle's values.
    while rows and not rows[-1]:
        rows.pop()
    if len(rows) < 2 or len(set(map(len, rows))) != 1 or len(rows[0]) > _MOST_COLUMNS:
        raise InputInvalid(f"{path}: is no table with a row of names and rows of as many values; write it again")
    found: dict[str, NDArray[np.generic]] = {}
    for name, column in zip(rows[0], zip(*rows[1:], strict=True), strict=True):
        try:
            found[name.strip()] = np.array(column, dtype=np.float64)
        except ValueError:
            continue
    return found
