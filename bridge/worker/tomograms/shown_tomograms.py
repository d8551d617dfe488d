"""Figures of tomograms for the pages of jobs on a table of them: the first few, in sections through the middle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from cryobridge.wrappers.formats.mrc_header import Float32Array
from cryobridge.wrappers.formats.mrc_windows import MrcWindows

from ..report import figures
from ..report.page import Figure

SHOWN = 3
"""Tomograms of a list that are shown."""
PLANES = ("xy, across z", "xz, across y", "yz, across x")
Sections = tuple[Float32Array, Float32Array, Float32Array]


def middle_sections(path: Path) -> Sections:
    """Sections of a volume through its middle: across z (y, x), across y (z, x) and across x (z, y).

    Raises
    ------
    InputInvalid
        If it cannot be read.
    """
    everything = slice(None)
    with MrcWindows(path) as volume:
        z, y, x = (size // 2 for size in volume.shape)
        return (
            volume.window(slice(z, z + 1), everything, everything)[0],
            volume.window(everything, slice(y, y + 1), everything)[:, 0],
            volume.window(everything, everything, slice(x, x + 1))[:, :, 0],
        )


def power_across_y(part: torch.Tensor) -> torch.Tensor:
    """Logarithm of the mean power of sections across y of a volume (z, y, x): (kz, kx) with DC in the middle."""
    device = part.device
    lines = [torch.hann_window(part.shape[axis], False, device=device) for axis in (0, 2)]
    sections = (part - part.mean()).transpose(0, 1) * (lines[0][:, None] * lines[1][None, :])
    power: torch.Tensor = torch.fft.fftshift(torch.fft.fft2(sections).abs().square().mean(0))
    logarithm: torch.Tensor = (power + 1e-12 * power.max()).log()
    return logarithm


def before_and_after(
    title: str, rows: Mapping[str, Sections], pixel_size_A: float, reading: str, *, is_tile: bool = False
) -> Figure:
    """Sections of one tomogram, a row for each state of it, on one grey scale."""
    shown = {name: [torch.from_numpy(section) for section in sections] for name, sections in rows.items()}
    return Figure(title, figures.section_rows(shown, PLANES, pixel_size_A), reading, is_tile=is_tile)


def outlined(
    title: str, sections: Sections, mask: Sections, pixel_size_A: float, reading: str, *, is_tile: bool = False
) -> Figure:
    """Sections of one tomogram with the border of its mask over them."""
    shown, over = ([torch.from_numpy(section) for section in volume] for volume in (sections, mask))
    return Figure(title, figures.outlined_sections(shown, over, PLANES, pixel_size_A), reading, is_tile=is_tile)


def marked(
    title: str, sections: Sections, centres: torch.Tensor, pixel_size_A: float, reading: str, *, is_tile: bool = False
) -> Figure:
    """Sections of one tomogram with places (n, 3), z, y, x, in it."""
    shown = [torch.from_numpy(section) for section in sections]
    places = [centres[:, [1, 2]], centres[:, [0, 2]], centres[:, [0, 1]]]
    return Figure(title, figures.marked_sections(shown, places, PLANES, pixel_size_A), reading, is_tile=is_tile)


def counted(count: int, one: str, many: str) -> str:
    """A number with the word that goes with it."""
    return f"{count} {one if count == 1 else many}"
