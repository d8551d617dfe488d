"""Figures of Fourier space: central sections of the 3DFSC."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..quantities import angstrom
from .canvas import Array, array, png, sheet, shown_size

_AXES = (("kx", "ky"), ("kx", "kz"), ("ky", "kz"))


def fourier_sections(half_spectrum: Tensor | Array) -> tuple[Array, Array, Array]:
    """Return the planes kz = 0 (ky, kx), ky = 0 (kz, kx) and kx = 0 (kz, ky) of a real half-spectrum (n, n, n//2+1).

    The half-spectrum has DC first and is the same at k and -k. Sections are (2m+1, 2m+1) with DC in the middle, where
    m is the highest frequency that the grid holds with both signs.
    """
    n = half_spectrum.shape[0]
    reach = (n - 1) // 2
    signed = np.arange(-reach, reach + 1) % n
    across_x = array(half_spectrum[:, :, 0])[np.ix_(signed, signed)]
    planes = []
    for half in (array(half_spectrum[0]), array(half_spectrum[:, 0])):
        right = half[signed][:, : reach + 1]
        left = right[::-1, :0:-1]  # the value at -k is that at k
        planes.append(np.concatenate([left, right], axis=1))
    return planes[0], planes[1], across_x


def limit_shell(half_spectrum: Tensor | Array) -> int:
    """Return the outermost shell (nearest integer radius) with a value that is not 0, at most n//2."""
    sections = fourier_sections(half_spectrum)
    reach = sections[0].shape[0] // 2
    row, column = np.nonzero(np.nan_to_num(np.stack(sections)).any(axis=0))
    if not row.size:
        return 0
    radius = np.hypot(row - reach, column - reach)
    return min(round(float(radius.max())), half_spectrum.shape[0] // 2)


def fsc3d_slices(fsc3d_half_spectrum: Tensor | Array, voxel_size_A: float) -> bytes:
    """Central sections of a 3DFSC (n, n, n//2+1), with the Nyquist limit dashed and the limit resolution solid.

    The limit is the outermost shell that holds anything.
    """
    sections = fourier_sections(fsc3d_half_spectrum)
    n = fsc3d_half_spectrum.shape[0]
    limit = limit_shell(fsc3d_half_spectrum)
    step = 1.0 / (n * voxel_size_A)
    reach = (sections[0].shape[0] // 2 + 0.5) * step
    shown = 1.04 * max(n / 2, reach / step) * step
    figure = sheet(7.2, 2.75)
    grid = figure.subplots(1, 3, squeeze=False)[0]
    for axes, section, (across, up) in zip(grid, sections, _AXES, strict=True):
        image = axes.imshow(
            shown_size(section),
            cmap="viridis",
            vmin=0.0,
            vmax=1.0,
            origin="lower",
            extent=(-reach, reach, -reach, reach),
            interpolation="nearest",
        )
        turn = np.linspace(0.0, 2.0 * np.pi, 361)
        for radius, line in ((n / 2 * step, "--"), (limit * step, "-")):
            axes.plot(radius * np.cos(turn), radius * np.sin(turn), color="white", linestyle=line, linewidth=0.9)
        axes.set_facecolor("#440154")
        axes.set_xlim(-shown, shown)
        axes.set_ylim(-shown, shown)
        axes.set_aspect("equal")
        axes.set_xlabel(f"{across} (1/Å)", fontsize=9)
        axes.set_ylabel(f"{up} (1/Å)" if axes is grid[0] else up, fontsize=9)
        axes.tick_params(labelsize=7, labelleft=axes is grid[0])
        axes.locator_params(nbins=5)
    bar = figure.colorbar(image, ax=list(grid), fraction=0.02, pad=0.01, shrink=0.85)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("3DFSC", fontsize=9)
    limit_words = angstrom(1.0 / (limit * step)) if limit else "nowhere"
    figure.suptitle(
        f"solid circle: limit, {limit_words}; dashed: Nyquist, {angstrom(2 * voxel_size_A)}",
        fontsize=8,
        color="#444444",
    )
    return png(figure)
