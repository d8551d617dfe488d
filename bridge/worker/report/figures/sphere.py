"""Figures of directions: the whole sphere at once, in Mollweide's projection, which keeps areas.

The middle of the picture is x, the right y, the top z. What is measured along a direction and its opposite is the
same, so every value is shown at both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ..quantities import angstrom
from .canvas import Array, array, png, resolution_ticks, sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

_STEP_DEG = 1.5
_NOTHING = "#9AA0A6"
_ROWS_AT_ONCE = 4096
_LEAST_DENSITY = 0.01


def sphere_grid() -> tuple[Array, Array]:
    """Return longitudes (w+1,) and latitudes (h+1,) in radians: the corners of the cells that a sphere is drawn in."""
    longitudes = np.radians(np.linspace(-180.0, 180.0, round(360 / _STEP_DEG) + 1))
    latitudes = np.radians(np.linspace(-90.0, 90.0, round(180 / _STEP_DEG) + 1))
    return longitudes, latitudes


def on_sphere(directions: Tensor | Array, values: Tensor | Array) -> Array:
    """Give every cell of `sphere_grid` the value of the nearest direction or its opposite, (h, w).

    Parameters
    ----------
    directions
        (k, 3) in z, y, x order, of any length but 0.
    values
        (k,), any numbers.
    """
    vectors = array(directions)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    longitudes, latitudes = ((edges[:-1] + edges[1:]) / 2 for edges in sphere_grid())
    latitude, longitude = np.meshgrid(latitudes, longitudes, indexing="ij")
    cells = np.stack(
        [np.sin(latitude), np.cos(latitude) * np.sin(longitude), np.cos(latitude) * np.cos(longitude)], axis=-1
    )
    flat = cells.reshape(-1, 3).astype(np.float32)
    nearest = np.concatenate(
        [
            np.abs(flat[start : start + _ROWS_AT_ONCE] @ vectors.T).argmax(axis=1)
            for start in range(0, len(flat), _ROWS_AT_ONCE)
        ]
    )
    result: Array = array(values)[nearest].reshape(latitude.shape)
    return result


def resolution_sphere(directions: Tensor | Array, resolutions_A: Tensor | Array) -> bytes:
    """Resolution in Angstrom (k,) by direction (k, 3; z, y, x) over the whole sphere.

    Colours go with spatial frequency, so that one very bad direction does not take the contrast from the others.
    Directions where nothing is measured (infinite, not a number, or 0) are grey.
    """
    resolutions = array(resolutions_A)
    measured = np.isfinite(resolutions) & (resolutions > 0)
    frequencies = np.where(measured, 1.0 / np.where(measured, resolutions, 1.0), np.nan)
    figure, axes = _globe()
    low, high = _range(frequencies)
    image = _paint(axes, on_sphere(directions, frequencies), low, high, "viridis")
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.05, pad=0.06, aspect=40)
    ticks = [(place, name) for place, name in zip(*resolution_ticks(high), strict=True) if low <= place <= high]
    if len(ticks) < 2:
        ticks = [(place, angstrom(1.0 / place).removesuffix(" Å")) for place in np.linspace(low, high, 4)]
    bar.set_ticks([place for place, _ in ticks], labels=[name for _, name in ticks])
    bar.ax.tick_params(labelsize=8)
    bar.set_label("resolution (Å)" + ("" if measured.all() else "; grey: not measured"), fontsize=9)
    return png(figure)


def view_density(directions: Tensor | Array, density: Tensor | Array, what: str = "views") -> bytes:
    """How many views lie about each direction (k, 3; z, y, x), as density (k,) on any scale; shown against even views.

    The colours are logarithmic; directions without views are grey. `what` names what was counted, if not views.
    """
    from matplotlib.colors import LogNorm

    counts = np.nan_to_num(array(density))
    mean = counts.mean()
    shown = np.where(counts > 0, np.maximum(counts / (mean if mean > 0 else 1.0), _LEAST_DENSITY), np.nan)
    figure, axes = _globe()
    low = min(float(np.nanmin(shown, initial=0.5)), 0.5)
    high = max(float(np.nanmax(shown, initial=2.0)), 2.0)
    cells = np.ma.masked_invalid(on_sphere(directions, shown))
    image = axes.pcolormesh(
        *sphere_grid(), cells, norm=LogNorm(low, high), cmap="cividis", shading="flat", rasterized=True
    )
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.05, pad=0.06, aspect=40)
    ticks = [tick for tick in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300) if low <= tick <= high]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=8)
    bar.set_label(
        f"{what}, against an even distribution (1)" + ("" if (counts > 0).all() else f"; grey: no {what}"), fontsize=9
    )
    return png(figure)


def signal_sphere(directions: Tensor | Array, signal: Tensor | Array) -> bytes:
    """How much signal a view from each direction holds, (k,) from 0 to 1, by direction (k, 3; z, y, x)."""
    figure, axes = _globe()
    values = array(signal)
    image = _paint(axes, on_sphere(directions, values), *_range(values), "cividis")
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.05, pad=0.06, aspect=40)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("mean 3DFSC of a projection along the direction", fontsize=9)
    return png(figure)


def _globe() -> tuple[Figure, Axes]:
    """Return an empty sphere with the axes of the map at their places."""
    figure = sheet(7.2, 4.3)
    axes = figure.add_subplot(projection="mollweide")
    axes.set_facecolor(_NOTHING)
    axes.grid(color="white", alpha=0.25, linewidth=0.5)
    axes.set_xticks(np.radians([-150, -120, -90, -60, -30, 0, 30, 60, 90, 120, 150]), labels=[""] * 11)
    axes.set_yticks(np.radians([-60, -30, 30, 60]), labels=["−60°", "−30°", "30°", "60°"], fontsize=7)
    outline = {"facecolor": "black", "edgecolor": "none", "alpha": 0.45, "pad": 1.5, "boxstyle": "round,pad=0.2"}
    for longitude, latitude, name in ((0, 0, "x"), (90, 0, "y"), (-90, 0, "−y"), (0, 83, "z"), (0, -83, "−z")):
        axes.text(
            np.radians(longitude),
            np.radians(latitude),
            name,
            color="white",
            fontsize=8,
            ha="center",
            va="center",
            bbox=outline,
        )
    return figure, axes


def _paint(axes: Axes, cells: Array, low: float, high: float, colours: str) -> QuadMesh:
    return axes.pcolormesh(
        *sphere_grid(), np.ma.masked_invalid(cells), vmin=low, vmax=high, cmap=colours, shading="flat", rasterized=True
    )


def _range(values: Array) -> tuple[float, float]:
    """Least and largest finite value, drawn apart by 5 % where they are one."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.05, 0.5
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low * 1.001 else (low / 1.05, low * 1.05)
