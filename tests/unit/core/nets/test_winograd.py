"""The cheaper convolutions of a CPU give what the plain ones give, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cryobridge.core.nets import unet3d, winograd


def _case(b: int, c: int, out: int, depth: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(b + c + out + depth)
    volumes = torch.randn(b, c, depth, 6, 10, generator=generator).contiguous(memory_format=torch.channels_last_3d)
    kernel = torch.randn(out, c, 3, 3, 3, generator=generator)
    return volumes.requires_grad_(), kernel.requires_grad_(), torch.randn(b, out, depth, 6, 10, generator=generator)


def _furthest(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())


@pytest.mark.parametrize(("b", "c", "out", "depth"), [(1, 1, 3, 4), (3, 16, 5, 8), (2, 5, 16, 20)])
def test_values_and_gradients_are_those_of_the_plain_convolution(b: int, c: int, out: int, depth: int) -> None:
    volumes, kernel, weights = _case(b, c, out, depth)
    expected = functional.conv3d(volumes, kernel, padding=1)
    found = winograd.convolve(volumes, kernel)
    assert _furthest(found, expected) < 2e-5
    to_expected = torch.autograd.grad(expected, (volumes, kernel), weights)
    to_found = torch.autograd.grad(found, (volumes, kernel), weights)
    for ours, theirs in zip(to_found, to_expected, strict=True):
        assert _furthest(ours, theirs) < 2e-5


def test_samples_taken_one_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    volumes, kernel, weights = _case(3, 4, 6, 8)
    together = torch.autograd.grad(winograd.convolve(volumes, kernel), (volumes, kernel), weights)
    monkeypatch.setattr(winograd, "_CACHED_VALUES", 1)
    alone = torch.autograd.grad(winograd.convolve(volumes, kernel), (volumes, kernel), weights)
    for ours, theirs in zip(alone, together, strict=True):
        assert _furthest(ours, theirs) < 1e-5


def test_only_the_gradients_asked_for_are_computed() -> None:
    volumes, kernel, weights = _case(1, 2, 3, 4)
    for wanted, other in ((volumes, kernel), (kernel, volumes)):
        result = winograd.convolve(*(t if t is wanted else t.detach() for t in (volumes, kernel)))
        found = torch.autograd.grad(result, wanted, weights)[0]
        both = torch.autograd.grad(winograd.convolve(volumes, kernel), (wanted, other), weights)[0]
        assert torch.equal(found, both)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_the_network_is_the_one_of_plain_convolutions(norm: unet3d.Norm) -> None:
    torch.manual_seed(4)
    network = unet3d.UNet3D(16, norm)
    plain = unet3d.UNet3D(16, norm)
    plain.load_state_dict(network.state_dict())
    for module in plain.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.__class__ = torch.nn.Conv3d
    volumes = torch.randn(1, 1, 16, 16, 16).contiguous(memory_format=torch.channels_last_3d)
    results = [net(volumes) for net in (network, plain)]
    assert _furthest(results[0] - volumes, results[1] - volumes) < 1e-4
    gradients = []
    for net, result in zip((network, plain), results, strict=True):
        result.square().mean().backward()
        gradients.append([p.grad for p in net.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) == len(list(plain.parameters()))
    for ours, theirs in zip(*gradients, strict=True):
        scale = theirs.abs().max() + 1e-4
        assert float((ours - theirs).abs().max() / scale) < 2e-3
