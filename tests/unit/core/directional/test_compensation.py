"""SCF and SCF* of view sets whose value is known in closed form, and against the sum written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cryobridge.bridge.worker.report.readings import SCF_TROUBLE_BELOW
from cryobridge.core.directional import compensation as scf
from cryobridge.core.directional.sampling import symmetric_views
from cryobridge.core.fourier.directions import fibonacci_directions


def ring(count: int, latitude_deg: float = 0.0) -> torch.Tensor:
    """Views spread evenly about the z axis at a latitude, z, y, x."""
    around = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    up = math.radians(latitude_deg)
    return torch.stack(
        [torch.full_like(around, math.sin(up)), math.cos(up) * around.sin(), math.cos(up) * around.cos()], dim=1
    )


def cap(count: int, half_angle_deg: float) -> torch.Tensor:
    """Views spread evenly over a cap about z."""
    place = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    z = 1 - place * (1 - math.cos(math.radians(half_angle_deg)))
    around = torch.arange(count, dtype=torch.float64) * (math.pi * (3 - math.sqrt(5)))
    across = (1 - z * z).sqrt()
    return torch.stack([z, across * around.sin(), across * around.cos()], dim=1)


def turns_about_z(order: int) -> torch.Tensor:
    angles = [2 * math.pi * k / order for k in range(order)]
    rows = [[[math.cos(a), -math.sin(a), 0.0], [math.sin(a), math.cos(a), 0.0], [0.0, 0.0, 1.0]] for a in angles]
    return torch.tensor(rows)


def test_even_views_lose_nothing() -> None:
    found = scf.sampling_compensation(fibonacci_directions(20000))
    assert found.scf == pytest.approx(1.0, abs=0.02)
    assert found.scf_star == found.scf
    assert found.unsampled == 0.0
    assert found.mean_samples == pytest.approx(20000 / 100, rel=0.01)


def test_side_views_have_eight_over_pi_squared() -> None:
    # Their density at polar angle t is 2 / (pi sin t); its reciprocal's mean over the sphere is pi^2 / 8.
    found = scf.sampling_compensation(ring(20000))
    assert found.scf == pytest.approx(8 / math.pi**2, abs=0.01)
    assert found.scf_star == pytest.approx(found.scf)


def test_top_views_leave_a_cone_unsampled() -> None:
    found = scf.sampling_compensation(cap(5000, 30.0))
    # What lies more than half a voxel further from the equator than any slice reaches.
    reach = math.radians(30.0) + math.asin(0.5 / scf.FOURIER_RADIUS)
    assert found.unsampled == pytest.approx(1 - math.sin(reach), abs=0.005)
    assert found.scf_star < 0.1
    assert found.scf_star < SCF_TROUBLE_BELOW < scf.sampling_compensation(fibonacci_directions(5000)).scf_star


def test_a_few_even_views_among_top_views_set_the_factor() -> None:
    # Off the equator only the even 10 % measure: the factor is their share, but for the equator's own band (1 %).
    top = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64).expand(45000, 3)
    found = scf.sampling_compensation(torch.cat([top, fibonacci_directions(5000).double()]))
    assert found.scf == pytest.approx(0.1, abs=0.01)


@pytest.mark.slow
def test_the_numbers_are_those_of_the_sum_written_out() -> None:
    views = torch.nn.functional.normalize(
        torch.randn(300, 3, generator=torch.Generator().manual_seed(3)) * torch.tensor([5.0, 1.0, 1.0]), dim=1
    )
    found = scf.sampling_compensation(views, fourier_radius=20)
    count = np.zeros(5000)
    for i, direction in enumerate(fibonacci_directions(5000).numpy().astype(np.float64)):
        count[i] = sum(abs(direction @ view) <= 0.5 / 20 for view in views.numpy().astype(np.float64))
    p = (count > 0).mean()
    expected = 1 / ((1 / count[count > 0]).mean() * count.mean())
    assert 0 < found.unsampled == pytest.approx(1 - p, abs=1e-3)
    assert found.scf == pytest.approx(expected, rel=2e-3)
    assert found.scf_star == pytest.approx(expected / (1 + (1 - p) / p * count.mean() * expected / 2), rel=2e-3)


def test_symmetry_is_the_same_as_giving_every_symmetric_view() -> None:
    views, group = ring(7000, 20.0)[:1500], turns_about_z(3)
    by_group = scf.sampling_compensation(views, group)
    spelled_out = scf.sampling_compensation(symmetric_views(views, group))
    assert by_group.scf_star == pytest.approx(spelled_out.scf_star, rel=0.03)
    assert by_group.mean_samples == pytest.approx(spelled_out.mean_samples, rel=0.03)
    assert by_group.unsampled == pytest.approx(spelled_out.unsampled, abs=0.01)


def test_one_view_in_no_sampled_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="no views"):
        scf.view_density(torch.zeros(0, 3), torch.ones(1, 3))


def test_view_density_is_one_for_even_views_and_peaks_where_views_are() -> None:
    directions = fibonacci_directions(100)
    even = scf.view_density(fibonacci_directions(20000), directions)
    assert float((even - 1).abs().max()) < 0.1
    top = scf.view_density(cap(1000, 5.0), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    assert top.tolist() == pytest.approx([1 / (1 - math.cos(math.radians(10))), 0.0])


@pytest.mark.parametrize("count", [1, 2, 7, 40, 300, 3000])
@pytest.mark.parametrize("order", [1, 5])
def test_the_factor_is_between_0_and_1_for_any_number_of_views(count: int, order: int) -> None:
    generator = torch.Generator().manual_seed(count)
    views = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=1)
    found = scf.sampling_compensation(views, turns_about_z(order))
    assert 0.0 <= found.scf_star <= 1.0
    assert 0.0 <= found.unsampled <= 1.0
    assert found.enough is (count * order >= 950)


def test_views_that_are_all_the_same_are_no_set_to_judge() -> None:
    same = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], dtype=torch.float64).repeat(2000, 1)
    found = scf.sampling_compensation(same)
    assert found.one_view
    assert not found.enough
    assert not scf.sampling_compensation(ring(4000)).one_view
    assert scf.sampling_compensation(ring(4000)).enough
