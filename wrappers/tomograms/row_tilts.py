"""The tilt angles that a row of a table of tomograms leads to: a list of ours, or a tilt series of RELION 5."""

from __future__ import annotations

from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

from .table_paths import found_from
from .tilt_angles import TiltAngles, read_tilt_angles

TILT_ANGLES = "rlnTiltAngleFile"
"""Our own column: a file of tilt angles, one a line in degrees, in our convention."""
TILT_SERIES = "rlnTomoTiltSeriesStarFile"


def tilts_of_row(own_list: str | None, tilt_series: str | None, table: Path) -> TiltAngles | None:
    """Read the tilt angles of one tomogram.

    Parameters
    ----------
    own_list
        What stands in the column of our lists.
    tilt_series
        What stands in RELION's; a series that is not at hand is passed over, since RELION's tables travel without.

    Raises
    ------
    InputInvalid
        If our list is missing, or a file cannot be read.
    """
    if own_list is not None:
        path = found_from(table.parent, own_list)
        if not path.is_file():
            raise InputInvalid(
                f"{table}: '{own_list}' ({TILT_ANGLES}) does not exist; remove it, or run prepare_star again"
            )
        return read_tilt_angles(path)
    if tilt_series is None:
        return None
    path = found_from(table.parent, tilt_series)
    return read_tilt_angles(path, "relion") if path.is_file() else None
