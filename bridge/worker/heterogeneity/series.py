"""A series of volumes: decoded, written, and looked at one by one, so that no more than two are held."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.fourier import fsc, resample, resolution

from ..jobs.context import Context
from ..loop import Progress
from ..report import chimerax, figures
from ..report.levels import AlikeLevels
from .decoding import decoded
from .finishing import Finishing
from .run_folder import LatentRun, Latents

MOST_SHOWN = 40
"""Volumes of a series that are pictured."""
_COARSE_BOX = 18
"""Box of the coarse copies: frequencies up to 8 cycles per box."""
_PICTURE_BOX = 96
HALF = 0.5
"""FSC at which neighbours are said to differ: they share no noise that a lower value would allow for."""

Steps = Generator[Progress | None, None, None]


@dataclass(frozen=True)
class Series:
    """Latents in an order, and what their volumes are called.

    Attributes
    ----------
    prefix
        Of the files' names.
    z
        (K, zdim).
    first_number
        Of the first volume.
    """

    prefix: str
    z: NDArray[np.float64]
    first_number: int = 0

    @property
    def numbers(self) -> list[int]:
        """The volumes' numbers."""
        return list(range(self.first_number, self.first_number + len(self.z)))

    @property
    def names(self) -> list[str]:
        """The volumes' files."""
        return [f"{self.prefix}{number:03d}.mrc" for number in self.numbers]

    @property
    def latents(self) -> Latents:
        """The latents as a model takes them."""
        return np.ascontiguousarray(self.z, dtype=np.float32)


class SeriesLook:
    """What is kept of a series' volumes: levels, small pictures, coarse copies, FSC of neighbours.

    Attributes
    ----------
    levels
        Contour levels that enclose as much as that of the first volume.
    curves
        FSC (n // 2 + 1,) of each volume and the next.
    coarse
        Copies (m, m, m) with the low frequencies only, on the CPU.
    """

    def __init__(self, count: int) -> None:
        self.levels: list[float] = []
        self.curves: list[Tensor] = []
        self.coarse: list[Tensor] = []
        self.shown = sorted({round(place) for place in np.linspace(0, count - 1, min(count, MOST_SHOWN))})
        self._surfaces: dict[str, list[NDArray[np.float64]]] = {"along z": [], "along x": []}
        self._sections: list[NDArray[np.float64]] = []
        self._before: Tensor | None = None
        self._alike = AlikeLevels()

    def add(self, volume: Tensor) -> None:
        """Look at the next volume (n, n, n)."""
        number, box = len(self.levels), volume.shape[-1]
        level = self._alike.of(volume)
        self.levels.append(level)
        self.coarse.append(resample(volume, min(_COARSE_BOX, box)).cpu())
        if number in self.shown:
            small = (volume if box <= _PICTURE_BOX else resample(volume, _PICTURE_BOX)).cpu()
            self._surfaces["along z"].append(figures.surface_picture(small, level, "z"))
            self._surfaces["along x"].append(figures.surface_picture(small, level, "x"))
            self._sections.append(figures.section_picture(small, "y"))
        if self._before is not None:
            self.curves.append(fsc(self._before, volume).cpu())
        self._before = volume

    def strip(self, titles: Sequence[str], finishing: Finishing) -> bytes:
        """Surfaces along two axes, and what the central section across y differs by from the mean of the series."""
        mean = np.mean(self._sections, axis=0)
        rows = {**self._surfaces, "less mean": [section - mean for section in self._sections]}
        inside = figures.middle_of([picture for row in self._surfaces.values() for picture in row])
        rows = {name: [picture[inside, inside] for picture in row] for name, row in rows.items()}
        pixel_A = finishing.voxel_size_A * finishing.box / min(finishing.box, _PICTURE_BOX)
        return figures.picture_strip(rows, [titles[number] for number in self.shown], pixel_A, signed=["less mean"])

    def differ_from_A(self, finishing: Finishing) -> list[float]:
        """Resolution at which the FSC of each two neighbours falls below 0.5; that of the grid where it never does."""
        return [resolution(curve, finishing.voxel_size_A, HALF, box=finishing.box) for curve in self.curves]


def write_series(
    context: Context,
    run: LatentRun,
    series: Series,
    finishing: Finishing,
    look: Callable[[Tensor], None],
    done: tuple[float, float],
) -> Steps:
    """Decode the volumes of a series, write them, their latents and a script, and hand each to `look`.

    Parameters
    ----------
    done
        How much of the job is done before and after.
    """
    count = len(series.z)
    number = 0
    for raw in decoded(run.model, series.latents, context.device):
        if raw is None:
            yield None
            continue
        volume = finishing.of(raw)
        # Density that was made dark is looked at bright, or it has no surface.
        look(-volume if finishing.invert else volume)
        context.folder.write_map(series.names[number], volume, finishing.voxel_size_A, finishing.position)
        number += 1
        yield Progress(
            f"{series.prefix.strip('_')}: volume {number} of {count}", done[0] + (done[1] - done[0]) * number / count
        )


def write_script(
    context: Context, name: str, names: Sequence[str], levels: Sequence[float], finishing: Finishing
) -> None:
    """Write a script that shows volumes one after the other, contoured at the levels of bright density."""
    sign = -1.0 if finishing.invert else 1.0
    context.folder.write_text(name, chimerax.series([(one, sign * at) for one, at in zip(names, levels, strict=True)]))


def z_text(z: NDArray[np.floating]) -> str:
    """Latents (K, zdim), one a line, as they may be given again."""
    return "".join(" ".join(f"{value:.8g}" for value in row) + "\n" for row in z.tolist())


def neighbour_table(looks: Sequence[tuple[Series, SeriesLook]], finishing: Finishing) -> str:
    """A row for each two neighbours of series: mean FSC up to Nyquist, and where it falls below 0.5."""
    rows = ["first,second,mean_fsc,differ_from_A"]
    for series, look in looks:
        for first, second, curve, differ_A in zip(
            series.names, series.names[1:], look.curves, look.differ_from_A(finishing), strict=False
        ):
            rows.append(f"{first},{second},{float(curve[1:].mean()):.6f},{differ_A:.4f}")
    return "\n".join(rows) + "\n"


def frequencies(finishing: Finishing) -> NDArray[np.float64]:
    """Of the shells from the first on, (n // 2,) in 1/A."""
    return np.arange(1, finishing.box // 2 + 1) / (finishing.box * finishing.voxel_size_A)


def coarse_matrix(look: SeriesLook) -> NDArray[np.float64]:
    """The coarse copies of a series as rows, (K, m^3)."""
    return torch.stack(look.coarse).flatten(1).double().numpy()
