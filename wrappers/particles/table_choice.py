"""What of a table of particles is read, and what is believed in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .alignments import Alignment


@dataclass(frozen=True)
class TableChoice:
    """How a table is read.

    Attributes
    ----------
    datadir
        Where stacks are looked for that are not where their paths lead.
    pixel_size_A, box
        Of the images as they are stored, in the place of what the table says.
    alignment
        Which of a table's alignments; "none" where poses come from elsewhere.
    ctf
        Whether its CTF parameters are read; they may come from elsewhere.
    sized_elsewhere
        Whether the pixel size is replaced by that of a table of CTF parameters, so that nothing is said of it here.
    ctf_given
        Parameters of `CtfColumns` in the place of the table's.
    images
        Whether the stacks must be there.
    """

    datadir: Path | None = None
    pixel_size_A: float | None = None
    box: int | None = None
    alignment: Alignment = "refinement"
    ctf: bool = True
    sized_elsewhere: bool = False
    ctf_given: Mapping[str, float] = field(default_factory=dict)
    images: bool = True
