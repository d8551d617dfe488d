"""The published network: its size, its start, what it refuses; its values are checked where Keras' models are read."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cryobridge.core.tomogram import published


@pytest.mark.parametrize(("base", "millions"), [(64, 27.3), (32, 6.8)])
def test_it_has_the_documented_size(base: int, millions: float) -> None:
    with torch.device("meta"):
        network = published.IsoNetUNet(published.IsoNetShape(filter_base=base))
    assert sum(value.numel() for value in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_it_begins_as_isonet_does() -> None:
    torch.manual_seed(1)
    network = published.IsoNetUNet(published.IsoNetShape(filter_base=8))
    kernels = torch.cat([w.detach().flatten() for name, w in network.named_parameters() if w.dim() == 5])
    assert float(kernels.std()) == pytest.approx(0.02, rel=0.02)
    assert all(not bool(value.any()) for name, value in network.last.named_parameters() if name == "bias")


@pytest.mark.parametrize("settings", [{}, {"pool": (2, 2, 2)}, {"kernel": (3, 5, 1)}, {"batch_normalization": False}])
def test_a_volume_keeps_its_shape(settings: dict[str, Any]) -> None:
    network = published.IsoNetUNet(published.IsoNetShape(filter_base=1, unet_depth=2, **settings))
    volume = torch.rand(1, 1, 8, 12, 4)
    assert network(volume).shape == volume.shape


def test_other_sides_are_refused() -> None:
    network = published.IsoNetUNet(published.IsoNetShape(filter_base=1))
    with pytest.raises(ValueError, match="must divide by 8"):
        network(torch.rand(1, 1, 8, 8, 12))


def test_drop_out_follows_from_its_seed() -> None:
    network = published.IsoNetUNet(published.IsoNetShape(filter_base=2, unet_depth=1))
    volume = torch.rand(1, 1, 8, 8, 8)
    found = []
    for seed in (1, 1, 2):
        network.draw_from(seed)
        found.append(network(volume))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_drop_out_keeps_the_mean() -> None:
    network = published.IsoNetUNet(published.IsoNetShape(filter_base=2, unet_depth=1, drop_out=0.3))
    layer = next(module for module in network.modules() if type(module).__name__ == "_Dropout")
    found = layer(torch.ones(40, 40, 40))
    assert float(found.mean()) == pytest.approx(1, abs=0.01)
    assert float((found == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(layer.eval()(torch.ones(3)), torch.ones(3))


@pytest.mark.parametrize(
    "settings",
    [{"filter_base": 0}, {"unet_depth": 0}, {"kernel": (3, 0, 3)}, {"drop_out": 1.0}, {"pool": (4, 2, 2)}],
    ids=str,
)
def test_what_is_no_network_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is no network|cannot be undone"):
        published.IsoNetShape(**settings)
