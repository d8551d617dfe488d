"""The network: published sizes, residual output, shapes it refuses."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.nets.unet3d import Norm, UNet3D, parameter_count


@pytest.mark.parametrize(("base", "parameters"), [(64, 23_764_737), (32, 8_297_921), (16, 2_076_129)])
def test_published_widths_have_the_published_parameter_counts(base: int, parameters: int) -> None:
    with torch.device("meta"):
        assert parameter_count(UNet3D(base)) == parameters


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_identity_start_changes_nothing(norm: Norm) -> None:
    volumes = torch.randn(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    network = UNet3D(4, norm, identity_start=True)
    with torch.no_grad():
        assert torch.equal(network(volumes), volumes)


def test_output_is_input_plus_something_that_depends_on_the_surroundings() -> None:
    torch.manual_seed(2)
    network = UNet3D(4, "none").double()
    volumes = torch.zeros(1, 1, 16, 16, 16, dtype=torch.float64)
    moved = volumes.clone()
    moved[0, 0, 8, 8, 8] = 1.0
    with torch.no_grad():
        change = network(moved) - network(volumes)
    assert abs(float(change[0, 0, 8, 8, 8]) - 1.0) < 0.5
    assert float(change[0, 0, 2, 2, 2].abs()) > 0


def test_group_norm_treats_each_crop_alone() -> None:
    torch.manual_seed(3)
    network = UNet3D(8, "group").eval()
    volumes = torch.randn(2, 1, 8, 8, 8)
    with torch.no_grad():
        assert torch.allclose(network(volumes)[:1], network(volumes[:1]), atol=1e-5)


def test_sides_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="divide by 8"):
        UNet3D(4)(torch.zeros(1, 1, 12, 16, 16))
