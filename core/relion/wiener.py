"""From back-projected sums to a map: what RELION's programs make of data and weight, and of nothing else.

`reconstruct` is the equal of `relion_external_reconstruct` (style "stock") and of what relion_refine makes by itself
(styles "relion3" and "relion5"), with the prior (MAP) and without. It knows grids and formulas, no files.

Sums are half-complex arrays (P, P, P//2 + 1) along z, y, x in FFTW order, not shifted, with the particle's centre at
the origin of the transform; P = round(padding * box). Maps are (N, N, N) along z, y, x with the centre at N//2.
Inside, half-complex arrays are turned to (kx, kz, ky), so that everything goes plane by plane.

References
----------
Scheres, J. Struct. Biol. 180 (2012), doi:10.1016/j.jsb.2012.09.006
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from . import gridding, real_transforms, sphere

Style = Literal["stock", "relion3", "relion5"]

_SMALLEST_WEIGHT = 1e-20
_WEIGHT_FLOOR = 1e-3
_LARGEST_PRIOR = 1e30
"""Beyond this nothing is left of a coefficient, and float32 must not overflow."""


@dataclass(frozen=True)
class StyleRules:
    """What tells one program's reconstruction from another's."""

    gridding: bool
    first_shell: int
    """The prior is used from this shell on."""
    edge: bool
    """Whether points at exactly the largest radius are used (without prior)."""


STYLES: dict[Style, StyleRules] = {
    "stock": StyleRules(gridding=True, first_shell=-1, edge=False),
    "relion3": StyleRules(gridding=True, first_shell=5, edge=False),
    "relion5": StyleRules(gridding=False, first_shell=5, edge=True),
}


def _round(value: float) -> int:
    """Round halves up, as the C macro does."""
    return math.floor(value + 0.5)


@dataclass(frozen=True)
class SumsGeometry:
    """Sizes that belong to a call's sums.

    Attributes
    ----------
    box
        Edge of the map in voxels.
    padding
        Padding factor of the sums.
    current_size
        Image size used in this iteration; the sums are zero beyond half of it.
    """

    box: int
    padding: float
    current_size: int

    def __post_init__(self) -> None:
        """Refuse sizes without a reconstruction; raises `ValueError`."""
        if self.box < 2 or self.padding < 1 or self.current_size < 2:
            raise ValueError(f"no reconstruction has these sizes: {self}")

    @property
    def padded_box(self) -> int:
        """P, the edge of the sums."""
        return _round(self.padding * self.box)

    @property
    def sums_shape(self) -> tuple[int, int, int]:
        """(P, P, P//2 + 1)."""
        return (self.padded_box, self.padded_box, self.padded_box // 2 + 1)

    @property
    def largest_shell(self) -> int:
        """r_max in unpadded Fourier pixels."""
        return min(self.current_size // 2, self.box // 2)

    @property
    def radius(self) -> int:
        """R, the same in padded Fourier pixels."""
        return _round(self.padding * self.largest_shell)


def reconstruct(
    data: torch.Tensor,
    weight: torch.Tensor,
    geometry: SumsGeometry,
    tau2: ArrayLike,
    *,
    fudge: float = 1.0,
    style: Style = "stock",
    regularised: bool = True,
    use_gridding: bool | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Make a map from the sums of one half-set or class.

    Parameters
    ----------
    data
        (P, P, P//2 + 1) complex: sum of CTF * image / sigma2.
    weight
        (P, P, P//2 + 1) real: sum of CTF^2 / sigma2, without the prior.
    geometry
        Sizes.
    tau2
        (box//2 + 1,) prior power per shell, not negative.
    fudge
        Tau2 fudge factor T.
    style
        Whose reconstruction: see `STYLES`.
    regularised
        False leaves the prior out (RELION's `_unfil.mrc`, the stock program's `--no_map`).
    use_gridding
        Overrides the style's gridding (the stock program's `--skip_gridding`).
    dtype
        Precision of the arithmetic, float32 or float64.

    Returns
    -------
    Tensor
        (box, box, box) real of `dtype`, on RELION's scale, on the device of `data`.

    Raises
    ------
    ValueError
        If shapes do not belong together, or tau2 or fudge is not finite and positive.
    """
    rules = STYLES[style]
    _check_sums(data, weight, geometry)
    prior = _Prior.of(geometry, tau2, fudge, rules.first_shell) if regularised else None
    if rules.gridding if use_gridding is None else use_gridding:
        spectrum = _gridded(data, weight, geometry, prior, dtype)
    else:
        spectrum = _divided(data, weight, geometry, prior, rules.edge, dtype)
    volume = _to_real_space(spectrum, geometry, dtype, data.device)
    sphere.mask_and_correct(volume, geometry.padding)
    return volume


def wiener_gain(weight: torch.Tensor, geometry: SumsGeometry, tau2: ArrayLike, fudge: float = 1.0) -> torch.Tensor:
    """How much of each Fourier voxel of the map is measured: W / (W + 1 / (padding^3 T tau2)).

    Parameters
    ----------
    weight
        (P, P, P//2 + 1) as for `reconstruct`.
    geometry
        Sizes.
    tau2
        (box//2 + 1,) prior power per shell.
    fudge
        Tau2 fudge factor.

    Returns
    -------
    Tensor
        (N, N, N//2 + 1) float32 in [0, 1), FFTW order; 0 beyond the largest shell and where tau2 is 0. W is taken
        at the nearest padded voxel.

    Raises
    ------
    ValueError
        As `reconstruct`.
    """
    if tuple(weight.shape) != geometry.sums_shape:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, the geometry calls for {geometry.sums_shape}")
    prior_power = geometry.padding**3 * fudge * _checked_tau2(tau2, geometry, fudge)
    device = weight.device
    box = geometry.box
    k = torch.arange(box, device=device)
    k = torch.where(k <= box // 2, k, k - box)
    padded = torch.floor(k * geometry.padding + 0.5).long() % geometry.padded_box
    k_x = k[: box // 2 + 1].abs()
    squared = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k_x[None, None, :] ** 2
    shell = torch.floor(squared.double().sqrt() + 0.5).long().clamp_(max=box // 2)
    power = torch.from_numpy(prior_power).to(device, torch.float32)[shell]
    w = weight[padded][:, padded][:, :, padded[: box // 2 + 1]].float() * power
    return torch.where(squared < geometry.largest_shell**2, w / (w + 1), 0.0)


@dataclass(frozen=True)
class _Prior:
    """1 / (padding^3 T tau2) by squared radius; NaN marks shells whose tau2 is 0."""

    by_squared_radius: NDArray[np.float64]

    @classmethod
    def of(cls, geometry: SumsGeometry, tau2: ArrayLike, fudge: float, first_shell: int) -> _Prior:
        power = _checked_tau2(tau2, geometry, fudge)
        shell = np.floor(np.sqrt(np.arange(geometry.radius**2)) / geometry.padding + 0.5).astype(np.int64)
        found = geometry.padding**3 * fudge * power[np.minimum(shell, len(power) - 1)]
        with np.errstate(divide="ignore"):
            inverse = np.where(found > 0, np.minimum(1.0 / found, _LARGEST_PRIOR), np.nan)
        inverse[shell < first_shell] = 0.0
        return cls(inverse)

    @property
    def largest(self) -> float:
        """The largest value; 0 if none is known."""
        return float(np.nan_to_num(self.by_squared_radius, nan=0.0).max())


def _checked_tau2(tau2: ArrayLike, geometry: SumsGeometry, fudge: float) -> NDArray[np.float64]:
    power = np.asarray(tau2, dtype=np.float64)
    if power.shape != (geometry.box // 2 + 1,):
        raise ValueError(f"tau2 has shape {power.shape}, a box of {geometry.box} calls for {(geometry.box // 2 + 1,)}")
    if not np.isfinite(power).all() or (power < 0).any() or not (math.isfinite(fudge) and fudge > 0):
        raise ValueError("tau2 must be finite and not negative, and the fudge factor finite and positive")
    return power


def _check_sums(data: torch.Tensor, weight: torch.Tensor, geometry: SumsGeometry) -> None:
    if tuple(data.shape) != geometry.sums_shape or tuple(weight.shape) != geometry.sums_shape:
        raise ValueError(
            f"data has shape {tuple(data.shape)} and weight {tuple(weight.shape)}; "
            f"the geometry calls for {geometry.sums_shape}"
        )
    if not data.is_complex():
        raise ValueError(f"data must be complex, not {data.dtype}")


class _Planes:
    """The planes of constant kx inside a sphere, and where their points lie in arrays of other sizes."""

    def __init__(self, geometry: SumsGeometry, reach: int, device: torch.device) -> None:
        padded = geometry.padded_box
        above, below = min(reach, padded // 2), min(reach, (padded - 1) // 2)
        self.k = torch.cat([torch.arange(above + 1), torch.arange(-below, 0)]).to(device)
        self.count = above + 1
        self._squared = self.k[:, None] ** 2 + self.k[None, :] ** 2
        first, last = slice(0, above + 1), slice(above + 1, above + 1 + below)
        self._blocks = ((first, first), (last, slice(padded - below, padded)))

    def squared_radius(self, planes: range) -> torch.Tensor:
        """(planes, kz, ky) integer squared distance from the origin."""
        x = torch.arange(planes.start, planes.stop, device=self.k.device)
        return x[:, None, None] ** 2 + self._squared

    def of(self, sums: torch.Tensor, planes: range, dtype: torch.dtype) -> torch.Tensor:
        """(planes, kz, ky) values of a (P, P, P//2 + 1) array."""
        part = sums[:, :, planes.start : planes.stop].permute(2, 0, 1)
        found = torch.empty((len(planes), len(self.k), len(self.k)), dtype=dtype, device=sums.device)
        for z_here, z_there in self._blocks:
            for y_here, y_there in self._blocks:
                found[:, z_here, y_here] = part[:, z_there, y_there]
        return found


class _Weights:
    """The weights plane by plane, cut to the sphere and with the prior added."""

    def __init__(
        self, weight: torch.Tensor, geometry: SumsGeometry, planes: _Planes, prior: _Prior | None, used_below: int
    ) -> None:
        self._weight, self._planes, self._used_below = weight, planes, used_below
        self._prior: torch.Tensor | None = None
        self._unknown = False
        if prior is not None:
            table = np.zeros(3 * (len(planes.k) // 2 + 1) ** 2)
            inside = prior.by_squared_radius
            table[: len(inside)] = inside
            self._unknown = bool(np.isnan(table).any())
            self._prior = torch.from_numpy(table).to(weight.device)

    def of(self, chunk: range, squared: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(planes, kz, ky); where tau2 is 0, with what the stock program adds instead of a prior."""
        w = self._planes.of(self._weight, chunk, dtype)
        w.masked_fill_(squared >= self._used_below, 0.0)
        if self._prior is None:
            return w
        added = self._prior.to(dtype)[squared]
        if self._unknown:
            instead = torch.where(w > _SMALLEST_WEIGHT, 1.0 / (_WEIGHT_FLOOR * w), 0.0)
            added = torch.where(added.isnan(), instead, added)
        return w.add_(added)


def _gridded(
    data: torch.Tensor, weight: torch.Tensor, geometry: SumsGeometry, prior: _Prior | None, dtype: torch.dtype
) -> _Coefficients:
    """Coefficients D g with iterative gridding weights g."""
    device, radius = data.device, geometry.radius
    n = 2 * (radius + 1) + 1
    planes = _Planes(geometry, radius - 1, device)
    weights = _Weights(weight, geometry, planes, prior, used_below=radius**2)
    # A power of two, so that scaling costs no precision and float32 cannot overflow in the transforms.
    largest = max(float(weight.max()), 0.0 if prior is None else prior.largest)
    scale = 2.0 ** math.floor(math.log2(largest or 1.0))
    position = planes.k % n
    product = torch.zeros((planes.count, n, n), dtype=dtype, device=device)
    for chunk in gridding.chunks(planes.count, gridding.chunk_length(16 * n * n, device)):
        w = weights.of(chunk, planes.squared_radius(chunk), dtype)
        product[chunk.start : chunk.stop, position[:, None], position] = w.div_(scale)
    gridding.iterate(product, n, geometry.padding * geometry.box, gridding.SMALLEST_CONVOLVED / scale)

    def coefficients(chunk: range) -> torch.Tensor:
        w = weights.of(chunk, planes.squared_radius(chunk), dtype)
        g = product[chunk.start : chunk.stop, position[:, None], position] / w
        # 0/0 is a point without a measurement.
        return planes.of(data, chunk, dtype.to_complex()) * g.masked_fill_(w == 0, 0.0)

    return _Coefficients(planes, coefficients)


def _divided(
    data: torch.Tensor,
    weight: torch.Tensor,
    geometry: SumsGeometry,
    prior: _Prior | None,
    edge: bool,
    dtype: torch.dtype,
) -> _Coefficients:
    """Coefficients D / W, with W at least a thousandth of its mean in the shell."""
    device, radius, shells = data.device, geometry.radius, geometry.largest_shell
    used_below = radius**2 + 1 if edge else radius**2
    counted_below = _round((shells * geometry.padding) ** 2)
    reach = math.isqrt(max(used_below, counted_below) - 1)
    planes = _Planes(geometry, reach, device)
    weights = _Weights(weight, geometry, planes, prior, used_below)
    squared_radii = np.arange(3 * (reach + 1) ** 2)
    shell = np.minimum(np.floor(np.sqrt(squared_radii) / geometry.padding).astype(np.int64), shells - 1)
    counted = torch.from_numpy(np.where(squared_radii < counted_below, shell, shells)).to(device)
    kept = torch.empty((planes.count, len(planes.k), len(planes.k)), dtype=dtype, device=device)
    total = torch.zeros(shells + 1, dtype=torch.float64, device=device)
    count = torch.zeros(shells + 1, dtype=torch.int64, device=device)
    for chunk in gridding.chunks(planes.count, gridding.chunk_length(16 * len(planes.k) ** 2, device)):
        squared = planes.squared_radius(chunk)
        w = weights.of(chunk, squared, dtype)
        kept[chunk.start : chunk.stop] = w
        index = counted[squared].flatten()
        total += torch.bincount(index, w.flatten(), shells + 1)
        count += torch.bincount(index, minlength=shells + 1)
    mean = total[:shells] / count[:shells].clamp_min(1)
    # Beyond the sphere nothing is used: an infinite weight says so.
    least_by_squared_radius = (mean * _WEIGHT_FLOOR)[torch.from_numpy(shell).to(device)]
    least_by_squared_radius[used_below:] = math.inf
    least = least_by_squared_radius.to(dtype)

    def coefficients(chunk: range) -> torch.Tensor:
        w = torch.maximum(kept[chunk.start : chunk.stop], least[planes.squared_radius(chunk)])
        return planes.of(data, chunk, dtype.to_complex()) * w.reciprocal().masked_fill_(w == 0, 0.0)

    return _Coefficients(planes, coefficients)


@dataclass(frozen=True)
class _Coefficients:
    """A reconstruction's Fourier coefficients (planes, kz, ky), made plane by plane when they are asked for."""

    planes: _Planes
    make: Callable[[range], torch.Tensor]


def _to_real_space(
    spectrum: _Coefficients, geometry: SumsGeometry, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Transform on an even grid; only the central box is ever computed."""
    box, planes = geometry.box, spectrum.planes
    even = geometry.padded_box + geometry.padded_box % 2
    complex_type = torch.complex128 if dtype == torch.float64 else torch.complex64
    position = planes.k % even
    kept = (torch.arange(box, device=device) - box // 2) % even
    lines = torch.empty((planes.count, box, box), dtype=complex_type, device=device)
    for chunk in gridding.chunks(planes.count, gridding.chunk_length(16 * even * len(planes.k), device)):
        along_z = torch.zeros((len(chunk), even, len(planes.k)), dtype=complex_type, device=device)
        along_z[:, position] = spectrum.make(chunk)
        along_y = torch.zeros((len(chunk), box, even), dtype=complex_type, device=device)
        along_y[:, :, position] = real_transforms.ifft(along_z, 1)[:, kept]
        lines[chunk.start : chunk.stop] = real_transforms.ifft(along_y, 2)[:, :, kept]
    volume = torch.empty((box, box, box), dtype=dtype, device=device)
    for chunk in gridding.chunks(box, gridding.chunk_length(16 * box * even, device)):
        z = slice(chunk.start, chunk.stop)
        volume[z] = real_transforms.irfft(lines[:, z].permute(1, 2, 0).contiguous(), even)[..., kept]
    volume /= geometry.padding**3 * box
    return volume
