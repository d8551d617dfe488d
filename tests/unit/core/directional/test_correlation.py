"""The 3DFSC equals a direct float64 evaluation over all pairs of voxels; it sees a cone where there is one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.core.directional import caps as capsums
from cryobridge.core.directional import correlation as fsc3d
from cryobridge.core.directional.correlation import Form
from cryobridge.core.fourier import correlation as fsc
from cryobridge.core.fourier import directions, filters, shells
from cryobridge.core.fourier import transforms as fourier
from cryobridge.core.volume import masks


def half_maps(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two noisy copies of one random map, float64."""
    generator = torch.Generator().manual_seed(seed)
    signal, noise1, noise2 = torch.randn((3, n, n, n), generator=generator, dtype=torch.float64)
    return signal + 0.7 * noise1, signal + 0.7 * noise2


def direct_fsc3d(maps: tuple[torch.Tensor, torch.Tensor], limit_shell: int, angle: float, form: str) -> np.ndarray:
    """Every voxel's cap by the distances to all voxels of its shell of the full numpy spectrum."""
    first, second = (np.fft.fftn(volume.numpy() - volume.numpy().mean()).ravel() for volume in maps)
    n = maps[0].shape[0]
    k = np.fft.fftfreq(n, 1 / n)
    points = np.stack(np.meshgrid(k, k, k, indexing="ij"), axis=-1).reshape(-1, 3)
    shell = np.rint(np.linalg.norm(points, axis=1))
    cross = (first * second.conj()).real
    out = np.zeros(n**3)
    out[0] = 1.0
    for i in range(1, limit_shell):
        here = np.flatnonzero(shell == i)
        squared = ((points[here, None] - points[None, here]) ** 2).sum(-1)
        # Squared distances are integers: a rim that passes through voxels takes them in.
        member = squared <= (2 * np.sin(np.radians(angle) / 2) * i) ** 2 + 1e-6
        c, a1, a2 = cross[here], np.abs(first[here]), np.abs(second[here])
        if form == "phase_cosine":
            out[here] = member @ (c / (a1 * a2)) / member.sum(1)
        else:
            out[here] = member @ c / np.sqrt((member @ a1**2) * (member @ a2**2))
    return out.reshape(n, n, n)[:, :, : n // 2 + 1]


CASES = [
    (16, 8, 10.0, "phase_cosine"),
    (17, 9, 20.0, "phase_cosine"),
    (24, 12, 10.0, "phase_cosine"),
    (23, 11, 60.0, "phase_cosine"),
    (20, 10, 90.0, "phase_cosine"),
    (16, 8, 20.0, "sum_ratio"),
    (17, 7, 10.0, "sum_ratio"),
    (24, 12, 20.0, "sum_ratio"),
    (21, 11, 34.0, "sum_ratio"),
]


@pytest.mark.parametrize(("n", "limit_shell", "angle", "form"), CASES)
def test_every_voxel_equals_the_direct_evaluation(n: int, limit_shell: int, angle: float, form: Form) -> None:
    maps = half_maps(n)
    expected = direct_fsc3d(maps, limit_shell, angle, form)
    ours = fsc3d.fsc3d(*maps, limit_shell=limit_shell, half_angle_deg=angle, form=form)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6, rtol=0)
    single = fsc3d.fsc3d(maps[0].float(), maps[1].float(), limit_shell=limit_shell, half_angle_deg=angle, form=form)
    np.testing.assert_allclose(single.numpy(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("tile", "batch"), [(4, 2000), (1000, 1 << 24)])
def test_tiles_threads_and_batches_do_not_change_a_number(
    tile: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = half_maps(32)
    expected = fsc3d.fsc3d(*maps, limit_shell=16, form="sum_ratio")
    monkeypatch.setattr(capsums, "_TILE", tile)
    monkeypatch.setattr(capsums, "_CPU_BATCH", batch)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = fsc3d.fsc3d(*maps, limit_shell=16, form="sum_ratio")
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(again, expected, atol=1e-6, rtol=0)


@pytest.mark.gpu
def test_a_gpu_gives_the_numbers_of_the_cpu() -> None:
    maps = half_maps(48)
    expected = fsc3d.fsc3d(*maps, limit_shell=24)
    ours = fsc3d.fsc3d(maps[0].cuda(), maps[1].cuda(), limit_shell=24)
    torch.testing.assert_close(ours.cpu(), expected, atol=1e-5, rtol=0)


@given(scale=st.floats(1e-10, 1e10), form=st.sampled_from(["phase_cosine", "sum_ratio"]))
@settings(max_examples=10, deadline=None)
def test_units_of_the_maps_do_not_matter(scale: float, form: Form) -> None:
    first, second = (volume.float() for volume in half_maps(12))
    ours = fsc3d.fsc3d(first * scale, second, limit_shell=6, form=form)
    torch.testing.assert_close(ours, fsc3d.fsc3d(first, second, limit_shell=6, form=form), atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", ["phase_cosine", "sum_ratio"])
@pytest.mark.parametrize("n", [16, 17])
def test_a_map_against_itself_is_one_within_the_limit_and_zero_beyond(n: int, form: Form) -> None:
    volume, _ = half_maps(n)
    ours = fsc3d.fsc3d(volume, volume, limit_shell=6, form=form)
    expected = shells.expand((torch.arange(n // 2 + 1) < 6).float(), n)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("form", ["phase_cosine", "sum_ratio"])
def test_nothing_against_nothing_is_zero_and_not_nan(form: Form) -> None:
    empty = torch.zeros(12, 12, 12)
    ours = fsc3d.fsc3d(empty, empty, limit_shell=6, form=form)
    assert ours[0, 0, 0] == 1.0
    assert ours.sum() == 1.0


def test_the_mask_is_put_on_after_the_mean_is_taken_off() -> None:
    first, second = half_maps(16)
    mask = masks.soft_sphere(16, 4.0, 2.0).double()
    masked = fsc3d.fsc3d(first + 5.0, second, mask, limit_shell=8)
    f1, f2 = (fourier.forward((volume - volume.mean()) * mask) for volume in (first, second))
    one, two = fourier.inverse(f1, 16), fourier.inverse(f2, 16)
    by_hand = fsc3d.fsc3d(one, two, limit_shell=8)
    torch.testing.assert_close(masked, by_hand, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", [16, 17])
def test_limits_beyond_the_grid_mean_its_last_whole_shell(n: int) -> None:
    maps = half_maps(n)
    most = fsc3d.whole_shells(n)
    torch.testing.assert_close(fsc3d.fsc3d(*maps, limit_shell=n), fsc3d.fsc3d(*maps, limit_shell=most))
    assert bool((fsc3d.fsc3d(*maps, limit_shell=n)[shells.shell_index(n) == most - 1] != 0).all())
    assert float(fsc3d.fsc3d(*maps, limit_shell=1).sum()) == 1.0


def test_keeping_high_resolution_fills_up_along_the_ramp() -> None:
    maps = half_maps(20)
    plain = fsc3d.fsc3d(*maps, limit_shell=8)
    kept = fsc3d.fsc3d(*maps, limit_shell=8, keep_high_resolution=True)
    fill = 1.0 - shells.expand(filters.ramp_curve(20, 6.0, 5.0), 20)
    torch.testing.assert_close(kept, torch.maximum(plain, fill))
    assert bool((kept[shells.shell_index(20) >= 6] == 1.0).all())


def test_noise_in_a_cone_lowers_the_3dfsc_there_and_only_there() -> None:
    n = 40
    generator = torch.Generator().manual_seed(1)
    signal = torch.randn((n, n, n), generator=generator)
    kz, _, _ = fourier.frequency_axes(n)
    in_cone = (kz.abs() > fourier.radius(n) * np.cos(np.radians(35.0))).float()
    maps = [signal + fourier.apply_filter(30 * torch.randn((n, n, n), generator=generator), in_cone) for _ in range(2)]
    ours = fsc3d.fsc3d(maps[0], maps[1], limit_shell=18, form="sum_ratio", half_angle_deg=10.0)
    assert ours[14, 0, 0].abs() < 0.4
    assert ours[0, 14, 0] > 0.95
    assert ours[0, 0, 14] > 0.95


def test_wrong_requests_say_what_is_wrong() -> None:
    first, second = half_maps(8)
    with pytest.raises(ValueError, match="form"):
        fsc3d.fsc3d(first, second, limit_shell=3, form="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="half-angle"):
        fsc3d.fsc3d(first, second, limit_shell=3, half_angle_deg=95.0)
    with pytest.raises(ValueError, match="limit shell"):
        fsc3d.fsc3d(first, second, limit_shell=0)
    with pytest.raises(ValueError, match=r"\(8, 8, 8\).*\(9, 9, 9\)"):
        fsc3d.fsc3d(first, torch.zeros(9, 9, 9), limit_shell=3)


@pytest.mark.parametrize("n", [16, 17])
def test_a_conical_fsc_is_the_ratio_of_sums_over_the_full_cone(n: int) -> None:
    maps = half_maps(n)
    axes = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.48, 0.64, -0.6]])
    ours = fsc3d.conical_fsc(*maps, axes, half_angle_deg=35.0).numpy()
    first, second = (np.fft.fftn(volume.numpy() - volume.numpy().mean()) for volume in maps)
    k = np.fft.fftfreq(n, 1 / n)
    points = np.stack(np.meshgrid(k, k, k, indexing="ij"), axis=-1)
    length = np.linalg.norm(points, axis=-1)
    for axis, curve in zip(axes.numpy(), ours, strict=True):
        cone = np.abs(points @ axis) >= length * np.cos(np.radians(35.0))
        # Even boxes keep one voxel for a Nyquist frequency and its opposite; look at shells that are whole.
        for i in range(1, (n + 1) // 2):
            here = cone & (np.rint(length) == i)
            f1, f2 = first[here], second[here]
            expected = (f1 * f2.conj()).real.sum() / np.sqrt((np.abs(f1) ** 2).sum() * (np.abs(f2) ** 2).sum())
            assert curve[i] == pytest.approx(expected, abs=1e-6)


def test_a_cone_of_90_degrees_is_the_whole_shell() -> None:
    maps = half_maps(14)
    ours = fsc3d.conical_fsc(*maps, torch.tensor([[0.0, 0.0, 1.0]]), half_angle_deg=90.0)[0]
    torch.testing.assert_close(ours[1:], fsc.fsc(*maps)[1:], atol=1e-9, rtol=0)
    empty = torch.zeros(14, 14, 14)
    assert fsc3d.conical_fsc(empty, empty, torch.tensor([[0.0, 0.0, 1.0]])).tolist() == [[1.0] + [0.0] * 7]


def ellipsoid(n: int, along_z: float, across: float) -> torch.Tensor:
    """A 3DFSC that falls linearly through 0.5 on a spheroid's surface, (n, n, n//2+1)."""
    kz, ky, kx = fourier.frequency_axes(n)
    place = ((kz / along_z) ** 2 + (ky**2 + kx**2) / across**2).sqrt()
    return (1.0 - 0.5 * place).clamp(min=0.0)


@pytest.mark.parametrize(("along_z", "across"), [(10.0, 10.0), (6.0, 12.0), (13.0, 6.5)])
def test_sphericity_of_a_spheroid_is_the_analytic_one(along_z: float, across: float) -> None:
    ours = fsc3d.sphericity(ellipsoid(33, along_z, across))
    if along_z == across:
        surface = 4 * math.pi * across**2
    elif along_z < across:
        e = math.sqrt(1 - (along_z / across) ** 2)
        surface = 2 * math.pi * across**2 * (1 + (1 - e**2) / e * math.atanh(e))
    else:
        e = math.sqrt(1 - (across / along_z) ** 2)
        surface = 2 * math.pi * across**2 * (1 + along_z / (across * e) * math.asin(e))
    body = 4 / 3 * math.pi * across**2 * along_z
    assert ours == pytest.approx(math.pi ** (1 / 3) * (6 * body) ** (2 / 3) / surface, abs=0.01)


def test_crossings_lie_on_the_surface_and_stop_at_the_last_whole_shell() -> None:
    axes = directions.fibonacci_directions(50)
    radii = fsc3d.crossing_radius(ellipsoid(40, 8.0, 14.0), axes, 0.5)
    z, across = axes[:, 0].double(), axes[:, 1:].double().norm(dim=1)
    expected = 1 / ((z / 8.0) ** 2 + (across / 14.0) ** 2).sqrt()
    torch.testing.assert_close(radii, expected, atol=0.15, rtol=0)
    assert fsc3d.crossing_radius(torch.ones(12, 12, 7), axes, 0.5).tolist() == [5.0] * 50
    with pytest.raises(ValueError, match="no body"):
        fsc3d.sphericity(torch.zeros(12, 12, 7))
