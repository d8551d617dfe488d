"""Tilt angles of a tomogram in one convention, whatever program they come from.

Convention: volumes are (z, y, x), the beam runs along z at 0 degrees, y is the tilt axis. A tilt of t degrees measures
the plane of Fourier space that holds the y axis and the direction (x, z) = (cos t, sin t), so what is measured lies
between atan(kz / kx) = tilt_min and tilt_max.

What is known of signs, first of the files, then of the tomograms:

- RELION 5: established. Its projections are x' = x cos t + z sin t with t = `rlnTomoYTilt`: ours.
- IMOD (`.tlt`, `.rawtlt`), SerialEM (`.mdoc`), AreTomo (`.aln`): RELION takes IMOD's angles over as `rlnTomoYTilt` with
  their sign, and SerialEM and AreTomo count as IMOD does: ours.
- Warp (`.xml`): established by a tomogram of negative tilts alone (pytom-match-pick, pull request 334) and by Warp's
  developers: its angles are IMOD's with the sign turned. `AreAnglesInverted` is about the defocus and changes none.
- Tomograms of RELION and Warp: established, as above. Of IMOD: assumed to be rotated about x to have z as the last
  axis, which is what etomo does unless told otherwise; swapping y and z instead (`trimvol -yz`) mirrors them. Of
  AreTomo: assumed, because pytom-match-pick finds AreTomo's own angles right for its tomograms.

A tomogram that was mirrored along z by anybody (`trimvol -yz`, Warp's `--dont_invert` with angles of an .mdoc) has the
signs turned: `mirrored`. For symmetric ranges none of this matters; for others the empty wedge of the data has the
last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryobridge.schemas.errors import InputInvalid

from .tilt_files import TiltSource, read_tilt_record

Maker = Literal["relion", "imod", "warp", "aretomo"]
"""Whose program made the tomogram."""

STEEPEST_DEG = 90.0
_NARROW_DEG = 40.0
_LARGEST_DEFOCUS_A, _SMALLEST_DEFOCUS_A = 200_000.0, 1000.0

_FILE_SIGNS: Mapping[TiltSource, int] = {"tlt": 1, "aln": 1, "mdoc": 1, "relion_star": 1, "warp_xml": -1}
"""By which a file's angles become those of IMOD."""
_TOMOGRAM_SIGNS: Mapping[Maker, int] = {"relion": 1, "imod": 1, "warp": 1, "aretomo": 1}
"""By which IMOD's angles become ours, for a tomogram of that program."""


@dataclass(frozen=True)
class TiltAngles:
    """The tilts of one tomogram.

    Attributes
    ----------
    angles_deg
        From the lowest to the highest, in our convention.
    source
        The sort of file they come from.
    defocus_A
        Of the tilt nearest to 0 degrees, underfocus positive; None where the file has none.
    remarks
        What a user must know.
    """

    angles_deg: tuple[float, ...]
    source: TiltSource
    defocus_A: float | None = None
    remarks: tuple[str, ...] = ()

    @property
    def tilt_min_deg(self) -> float:
        """The lowest angle."""
        return self.angles_deg[0]

    @property
    def tilt_max_deg(self) -> float:
        """The highest angle."""
        return self.angles_deg[-1]


def read_tilt_angles(
    path: Path, maker: Maker = "imod", *, pretilt_deg: float = 0.0, mirrored: bool = False
) -> TiltAngles:
    """Read the tilt angles of a tomogram from the file of any program; see `tilt_files` for which.

    Parameters
    ----------
    maker
        Whose program made the tomogram.
    pretilt_deg
        Added to every angle as IMOD counts it (its tilt angle offset), where the file holds angles of the stage and the
        tomogram lies level. An `.aln` has it already.
    mirrored
        Whether the tomogram was mirrored along z.

    Raises
    ------
    InputInvalid
        If the file cannot be read, or its angles cannot be those of a tilt series.
    """
    record = read_tilt_record(path)
    file_sign = _FILE_SIGNS[record.source]
    sign = _TOMOGRAM_SIGNS[maker] * (-1 if mirrored else 1)
    angles = [sign * (file_sign * angle + pretilt_deg) for angle in record.angles_deg]
    steepest = max(angles, key=abs)
    if abs(steepest) > STEEPEST_DEG:
        raise InputInvalid(f"{path}: a tilt of {steepest:g} degrees is beyond 90; check their unit, and the pretilt")
    if len(set(angles)) < 2:
        raise InputInvalid(f"{path}: holds {len(angles)} different tilt angle; a tilt series has several")
    remarks = list(record.remarks)
    if max(angles) - min(angles) < _NARROW_DEG:
        remarks.append(
            f"{path.name}: its tilts span {max(angles) - min(angles):.3g} degrees only; see that they are in degrees"
        )
    defocus_A, wrong = _at_zero_A(record.defocus_A, [file_sign * angle for angle in record.angles_deg])
    if wrong:
        remarks.append(f"{path.name}: {wrong}")
    return TiltAngles(tuple(sorted(angles)), record.source, defocus_A, tuple(remarks))


def tilt_list(angles_deg: tuple[float, ...]) -> str:
    """Tilt angles as the text of our own file of them: one a line, in degrees, in our convention."""
    return "".join(f"{angle:.4f}\n" for angle in angles_deg)


def implausible_defocus(defocus_A: float) -> str | None:
    """What is wrong with a defocus in Angstrom, underfocus positive; None if nothing is, or it is 0: unknown."""
    if defocus_A == 0:
        return None
    if defocus_A < 0:
        return f"a defocus of {defocus_A:g} A is overfocus; underfocus is positive here"
    if defocus_A < _SMALLEST_DEFOCUS_A:
        return f"a defocus of {defocus_A:g} A is in micrometres or nanometres, or none; give it in Angstrom, e.g. 30000"
    if defocus_A > _LARGEST_DEFOCUS_A:
        return f"a defocus of {defocus_A:g} A is more than 20 micrometres; give it in Angstrom, e.g. 30000"
    return None


def _at_zero_A(defocus_A: tuple[float, ...] | None, angles_deg: list[float]) -> tuple[float | None, str | None]:
    """The defocus of the tilt nearest to 0 degrees, and what is wrong with it."""
    if defocus_A is None:
        return None, None
    value_A = defocus_A[min(range(len(angles_deg)), key=lambda at: abs(angles_deg[at]))]
    wrong = implausible_defocus(value_A)
    return (None if wrong else value_A), (None if wrong is None else f"{wrong}; it is not used")
