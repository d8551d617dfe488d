"""The map from its sums: every style against a direct evaluation of its definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special

from cryobridge.core.relion.wiener import STYLES, SumsGeometry, reconstruct, wiener_gain

GEOMETRIES = [
    (8, 2.0, 8),
    (12, 2.0, 7),
    (9, 2.0, 6),
    (9, 1.0, 9),
    (16, 1.0, 10),
    (10, 1.5, 10),
    (11, 1.5, 8),
]


def half_axes(n: int, rfft: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    k = np.where(np.arange(n) <= n // 2, np.arange(n), np.arange(n) - n)
    x = np.arange(n // 2 + 1) if rfft else k
    return k[:, None, None], k[None, :, None], x[None, None, :]


def make_sums(geometry: SumsGeometry, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Sums of real images: Hermitian data and even weights, 0 beyond the radius."""
    generator = np.random.default_rng(seed)
    p = geometry.padded_box
    z, y, x = half_axes(p)
    inside = z**2 + y**2 + x**2 <= geometry.radius**2
    density = np.abs(np.fft.rfftn(generator.standard_normal((p, p, p)))) + 1
    data = np.fft.rfftn(generator.standard_normal((p, p, p))) * density
    tau2 = 0.5 / (1 + np.arange(geometry.box // 2 + 1)) ** 2
    return (
        torch.from_numpy(np.where(inside, data, 0)),
        torch.from_numpy(np.where(inside, 1e3 * density, 0)),
        tau2 / 1e2,
    )


def direct(
    data: np.ndarray, weight: np.ndarray, g: SumsGeometry, tau2: np.ndarray, fudge: float, style: str, regularised: bool
) -> np.ndarray:
    """The definition in full: whole complex grids, no symmetry used, sums written out as matrices."""
    p, r_max, radius = g.padded_box, g.largest_shell, g.radius
    n = 2 * radius + 3
    rules = STYLES[style]  # type: ignore[index]
    # Whole spheres from half spheres, on a grid indexed by signed k = -m..m along every axis.
    m = radius + 1
    k = np.arange(-m, m + 1)
    r2 = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2
    full_d, full_w = np.zeros(r2.shape, complex), np.zeros(r2.shape)
    top = p // 2
    for index in np.argwhere(r2 <= (radius**2 if rules.edge else radius**2 - 1)):
        v = k[index]
        flip = v[2] < 0
        a = -v if flip else v
        # An even grid has no place for -P/2.
        if np.any(a > top) or np.any(a < -((p - 1) // 2)):
            continue
        d = data[a[0] % p, a[1] % p, a[2]]
        full_d[tuple(index)] = np.conj(d) if flip else d
        full_w[tuple(index)] = weight[a[0] % p, a[1] % p, a[2]]
    inside = r2 < radius**2
    shell = np.floor(np.sqrt(r2) / g.padding + 0.5).astype(int)
    if regularised:
        power = g.padding**3 * fudge * tau2[np.minimum(shell, len(tau2) - 1)]
        known = np.where(full_w > 1e-20, 1 / np.where(full_w > 1e-20, 1e-3 * full_w, 1), 0)
        prior = np.where(power > 0, 1 / np.where(power > 0, power, 1), known)
        full_w = np.where(inside & (shell >= rules.first_shell), full_w + prior, full_w)
    if rules.gridding:
        # RELION numbers positions so that h = n // 2 is -(h + 1).
        i = np.where(np.arange(n) < n // 2, np.arange(n), np.arange(n) - n)
        distance = np.sqrt(i[:, None, None] ** 2.0 + i[None, :, None] ** 2 + i[None, None, :] ** 2)
        w = np.floor(distance / (g.box * g.padding) / (0.5 / 10000)) * (0.5 / 10000)
        s = np.sqrt(np.abs(225 - (2 * np.pi * 3.8 * w) ** 2))
        blob = np.where(2 * np.pi * 3.8 * w > 15, special.jv(1.5, s), special.iv(1.5, s)) / s**1.5
        blob = np.where(distance / (g.box * g.padding) < 0.5, blob / (special.iv(1.5, 15) / 15**1.5), 0)
        phase = np.exp(2j * np.pi * np.outer(i, k) / n)
        weights = inside.astype(float)
        for _ in range(10):
            real = np.einsum("za,yb,xc,abc->zyx", phase, phase, phase, weights * full_w, optimize=True)
            back = np.einsum("za,yb,xc,zyx->abc", *[phase.conj()] * 3, real * blob, optimize=True) / n**3
            weights = np.where(inside, weights / np.maximum(np.abs(back), 1e-6), weights)
        spectrum = full_d * weights
    else:
        floor_shell = np.minimum(np.floor(np.sqrt(r2) / g.padding).astype(int), r_max - 1)
        counted = (r2 < np.floor((r_max * g.padding) ** 2 + 0.5)) & (k >= 0)[None, None, :]
        means = np.bincount(floor_shell[counted], full_w[counted], r_max) / np.bincount(
            floor_shell[counted], minlength=r_max
        )
        least = np.maximum(full_w, means[floor_shell] / 1000)
        spectrum = np.where(least > 0, full_d / np.where(least > 0, least, 1), 0)
    even = p + p % 2
    position = np.arange(g.box) - g.box // 2
    phase = np.exp(2j * np.pi * np.outer(position, k) / even)
    volume = np.einsum("za,yb,xc,abc->zyx", phase, phase, phase, spectrum, optimize=True).real / (g.padding**3 * g.box)
    r = np.sqrt(position[:, None, None] ** 2.0 + position[None, :, None] ** 2 + position[None, None, :] ** 2)
    soft = np.clip((r - g.box / 2) / 3, 0, 1)
    soft = 0.5 - 0.5 * np.cos(np.pi * soft)
    volume = volume * (1 - soft) + soft * (soft * volume).sum() / soft.sum()
    return volume / np.sinc(r / (g.box * g.padding)) ** 2


@pytest.mark.parametrize("style", ["stock", "relion3", "relion5"])
@pytest.mark.parametrize("regularised", [True, False])
@pytest.mark.parametrize(("box", "padding", "current"), GEOMETRIES)
def test_every_style_is_its_definition(box: int, padding: float, current: int, style: str, regularised: bool) -> None:
    geometry = SumsGeometry(box, padding, current)
    data, weight, tau2 = make_sums(geometry, seed=box)
    if style == "relion5" and geometry.radius * 2 == geometry.padded_box:
        # +P/2 has a place on the grid and -P/2 has none, which the direct sum does not know.
        weight[geometry.radius], data[geometry.radius] = 0, 0
        weight[:, geometry.radius], data[:, geometry.radius] = 0, 0
        weight[:, :, geometry.radius], data[:, :, geometry.radius] = 0, 0
    expected = direct(data.numpy(), weight.numpy(), geometry, tau2, 2.0, style, regularised)
    for dtype, limit in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        found = reconstruct(data, weight, geometry, tau2, fudge=2.0, style=style, regularised=regularised, dtype=dtype)  # type: ignore[arg-type]
        assert found.dtype == dtype
        error = np.sqrt(((found.double().numpy() - expected) ** 2).sum() / (expected**2).sum())
        assert error < limit, f"{dtype}: {error:.1e}"


@pytest.mark.parametrize("style", ["stock", "relion5"])
def test_shell_without_prior_power_is_treated_as_the_stock_program_does(style: str) -> None:
    geometry = SumsGeometry(16, 1.0, 16)
    data, weight, tau2 = make_sums(geometry)
    tau2[6] = 0.0
    weight[0, 6, 1] = data[0, 6, 1] = 0  # and one point of it was never measured
    # Points at exactly +P/2 have no mirror image on the grid, which the direct sum does not know.
    for axis in range(3):
        weight.index_fill_(axis, torch.tensor([geometry.radius]), 0)
        data.index_fill_(axis, torch.tensor([geometry.radius]), 0)
    expected = direct(data.numpy(), weight.numpy(), geometry, tau2, 1.0, style, regularised=True)
    found = reconstruct(data, weight, geometry, tau2, style=style, dtype=torch.float64)  # type: ignore[arg-type]
    assert np.abs(found.numpy() - expected).max() < 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("style", ["stock", "relion3", "relion5"])
def test_vanishing_prior_power_cannot_overflow(style: str) -> None:
    """1 / tau2 is beyond float32 here: the shells vanish, the rest of the map does not become NaN."""
    geometry = SumsGeometry(12, 2.0, 12)
    data, weight, tau2 = make_sums(geometry)
    tau2[5:] = 1e-60
    found = reconstruct(data * 1e-12, weight * 1e-12, geometry, tau2, style=style)  # type: ignore[arg-type]
    assert bool(torch.isfinite(found).all())


def test_styles_without_prior_and_gridding_differ_only_at_the_edge() -> None:
    """relion5 uses the points at r = R, the stock program with --skip_gridding does not; else they are the same."""
    geometry = SumsGeometry(12, 2.0, 8)
    data, weight, tau2 = make_sums(geometry)
    z, y, x = half_axes(geometry.padded_box)
    edge = torch.from_numpy(z**2 + y**2 + x**2 == geometry.radius**2)
    without = reconstruct(
        data.masked_fill(edge, 0), weight, geometry, tau2, style="relion5", regularised=False, dtype=torch.float64
    )
    stock = reconstruct(data, weight, geometry, tau2, use_gridding=False, regularised=False, dtype=torch.float64)
    torch.testing.assert_close(without, stock, rtol=0, atol=1e-12 * float(stock.abs().max()))
    whole = reconstruct(data, weight, geometry, tau2, style="relion5", regularised=False, dtype=torch.float64)
    assert float((whole - stock).abs().max()) > 1e-4 * float(stock.abs().max())


def test_a_known_volume_comes_back() -> None:
    """Sums with even weights reconstruct the volume they were made of, centre at N//2."""
    box = 16
    geometry = SumsGeometry(box, 2.0, box)
    position = np.arange(box) - box // 2
    z, y, x = position[:, None, None], position[None, :, None], position[None, None, :]
    truth = np.exp(-((z - 1) ** 2 + (y + 2) ** 2 + (x - 3) ** 2) / 4.5)
    padded = np.zeros((2 * box,) * 3)
    padded[:box, :box, :box] = truth
    spectrum = np.fft.rfftn(np.roll(padded, (-(box // 2),) * 3, (0, 1, 2))) / box**2
    weight = np.full(geometry.sums_shape, 50.0)
    z, y, x = half_axes(2 * box)
    weight[z**2 + y**2 + x**2 > geometry.radius**2] = 0
    data = torch.from_numpy(spectrum * weight)
    found = reconstruct(
        data, torch.from_numpy(weight), geometry, np.ones(box // 2 + 1), style="relion5", regularised=False
    )
    p = np.arange(box) - box // 2
    r = np.sqrt(p[:, None, None] ** 2.0 + p[None, :, None] ** 2 + p[None, None, :] ** 2)
    found_inside = found.numpy() * np.sinc(r / (2 * box)) ** 2
    assert np.abs(found_inside - truth)[r < box / 2].max() < 0.01 * truth.max()


def test_strong_prior_pulls_the_map_to_zero_and_a_weak_one_does_not() -> None:
    geometry = SumsGeometry(12, 2.0, 12)
    data, weight, _ = make_sums(geometry)
    plain = reconstruct(data, weight, geometry, np.ones(7), regularised=False)
    weak = reconstruct(data, weight, geometry, np.full(7, 1e12))
    strong = reconstruct(data, weight, geometry, np.full(7, 1e-12))
    torch.testing.assert_close(weak, plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))
    assert float(strong.abs().max()) < 1e-3 * float(plain.abs().max())


def test_gain_is_measured_share_and_zero_beyond_the_largest_shell() -> None:
    geometry = SumsGeometry(10, 2.0, 8)
    _, weight, tau2 = make_sums(geometry)
    tau2[2] = 0.0
    gain = wiener_gain(weight, geometry, tau2, fudge=2.0).numpy()
    assert gain.shape == (10, 10, 6)
    # Voxel (z, y, x) = (1, -2, 3) of the map is (2, -4, 6) of the sums, in shell 4 (r = 3.74).
    w, prior = float(weight[2, -4, 6]), 1 / (8 * 2.0 * tau2[4])
    assert gain[1, -2, 3] == pytest.approx(w / (w + prior), rel=1e-5)
    assert gain[0, 2, 0] == 0
    assert gain[0, 4, 0] == 0
    assert ((gain >= 0) & (gain < 1)).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": torch.zeros(4, 4, 3, dtype=torch.complex64)}, r"\(4, 4, 3\).*\(16, 16, 9\)"),
        ({"weight": torch.zeros(16, 16, 16)}, r"\(16, 16, 16\)"),
        ({"data": torch.zeros(16, 16, 9)}, "complex"),
        ({"tau2": np.ones(4)}, r"\(4,\).*\(5,\)"),
        ({"tau2": np.array([1, 1, -1, 1, 1.0])}, "negative"),
        ({"tau2": np.array([1, 1, np.nan, 1, 1.0])}, "finite"),
        ({"fudge": 0.0}, "fudge"),
    ],
)
def test_what_does_not_belong_together_is_refused(change: dict[str, object], says: str) -> None:
    given = {
        "data": torch.zeros(16, 16, 9, dtype=torch.complex64),
        "weight": torch.zeros(16, 16, 9),
        "geometry": SumsGeometry(8, 2.0, 8),
        "tau2": np.ones(5),
        **change,
    }
    with pytest.raises(ValueError, match=says):
        reconstruct(**given)  # type: ignore[arg-type]


def test_nothing_measured_gives_an_empty_map() -> None:
    geometry = SumsGeometry(8, 2.0, 8)
    nothing = torch.zeros(geometry.sums_shape)
    for style in STYLES:
        for regularised in (True, False):
            found = reconstruct(nothing + 0j, nothing, geometry, np.ones(5), style=style, regularised=regularised)
            assert float(found.abs().max()) == 0


@pytest.mark.gpu
def test_cuda_gives_the_same_map() -> None:
    geometry = SumsGeometry(32, 2.0, 24)
    data, weight, tau2 = make_sums(geometry)
    for style in STYLES:
        here = reconstruct(data, weight, geometry, tau2, style=style)
        there = reconstruct(data.cuda(), weight.cuda(), geometry, tau2, style=style).cpu()
        torch.testing.assert_close(there, here, rtol=0, atol=2e-6 * float(here.abs().max()))
