"""A set of particles as plain arrays by name, with units in the names, and back: what `particles.npz` holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from .particle_set import CtfColumns, ParticleSet, TiltColumns

Arrays = dict[str, NDArray[np.generic]]

_CTF, _TILT = "ctf_", "tilt_series_"


def arrays_of(particles: ParticleSet) -> Arrays:
    """Every column that is there, and texts as arrays of text."""
    found: Arrays = {
        "name": np.array(particles.name),
        "source": np.array("" if particles.source is None else str(particles.source)),
        "source_row": particles.rows,
        "stacks": np.array([str(stack) for stack in particles.stacks], dtype=np.str_),
        "stack": particles.stack,
        "number": particles.number,
        "box": np.array(particles.box),
        "pixel_size_A": particles.pixel_size_A,
        "optics_group": particles.optics_group,
        "micrograph": particles.micrograph,
        "micrographs": np.array(particles.micrographs, dtype=np.str_),
        "half": particles.half,
        "contrast": np.array(particles.contrast or ""),
        "remarks": np.array(list(particles.remarks), dtype=np.str_),
    }
    optional = {"rotation": particles.rotations, "shift_A": particles.shifts_A, "uid": particles.uid}
    found |= {name: values for name, values in optional.items() if values is not None}
    if particles.ctf is not None:
        found |= {f"{_CTF}{name}": values for name, values in asdict(particles.ctf).items()}
    if particles.tilts is not None:
        found |= {f"{_TILT}{name}": values for name, values in asdict(particles.tilts).items()}
    return found


def set_of(arrays: Arrays, path: Path) -> ParticleSet:
    """The set that `arrays_of` gave.

    Raises
    ------
    InputInvalid
        If an array is missing or of another length.
    """

    def part(prefix: str) -> dict[str, Any]:
        return {key.removeprefix(prefix): values for key, values in arrays.items() if key.startswith(prefix)}

    try:
        source, contrast = str(arrays["source"]), str(arrays["contrast"])
        ctf, tilts = part(_CTF), part(_TILT)
        columns: dict[str, Any] = {
            name: arrays[name] for name in ("stack", "number", "pixel_size_A", "optics_group", "micrograph", "half")
        }
        found = ParticleSet(
            name=str(arrays["name"]),
            source=Path(source) if source else None,
            rows=arrays["source_row"].astype(np.int64),
            stacks=tuple(Path(str(stack)) for stack in arrays["stacks"]),
            box=int(arrays["box"]),
            micrographs=tuple(str(name) for name in arrays["micrographs"]),
            rotations=_optional(arrays, "rotation"),
            shifts_A=_optional(arrays, "shift_A"),
            uid=_optional(arrays, "uid"),
            ctf=CtfColumns(**ctf) if ctf else None,
            tilts=TiltColumns(**tilts) if tilts else None,
            contrast="bright" if contrast == "bright" else "dark" if contrast == "dark" else None,
            remarks=tuple(str(line) for line in arrays["remarks"]),
            **columns,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputInvalid(f"{path}: is no table of particles of cryobridge ({error}); run the job again") from error
    _expect_rows(found, columns, path)
    return found


def _expect_rows(found: ParticleSet, columns: dict[str, Any], path: Path) -> None:
    """Refuse columns that have not a row for each image, or name a stack that is not there."""
    count = len(found)
    shapes = {(count,): [found.rows, *columns.values()], (count, 3, 3): [found.rotations], (count, 2): [found.shifts_A]}
    for part in (found.ctf, found.tilts):
        shapes[count,] += [] if part is None else list(vars(part).values())
    shapes[count,].append(found.uid)
    wrong = any(values is not None and values.shape != shape for shape, group in shapes.items() for values in group)
    if wrong:
        raise InputInvalid(f"{path}: its columns are of different lengths; run the job again")
    whole = all(columns[name].dtype.kind in "iu" for name in ("stack", "number", "optics_group", "micrograph", "half"))
    plain = all(values.dtype.kind in "fiu" for group in shapes.values() for values in group if values is not None)
    if not whole or not plain or (count and not -1 <= found.stack.min() <= found.stack.max() < len(found.stacks)):
        raise InputInvalid(f"{path}: names stacks or numbers that are none; run the job again")


def _optional(arrays: Arrays, name: str) -> Any:
    return arrays.get(name)
