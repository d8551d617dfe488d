"""A glimpse of a block: its middle, what is said of the measured part and of the rest, each in its place."""

from __future__ import annotations

import numpy as np
import torch

from cryobridge.core.tomogram import Curve, SignalEvidence, Wedge, block_of, glimpse_of

SHAPE = (24, 40, 48)
WEDGE = Wedge.of_range(-50.0, 60.0)


def evidence() -> SignalEvidence:
    """Halves that agree wholly as far as any shell goes, so that nothing is filtered away."""
    return SignalEvidence(Curve(torch.ones(32)), 1, 0.0, 1.0)


def test_each_answer_stands_where_it_is_asked_for() -> None:
    generator = torch.Generator().manual_seed(1)
    even, odd = torch.randn(2, *SHAPE, generator=generator)
    block = block_of(even, odd, WEDGE, evidence())
    shown: list[torch.Tensor] = []

    def network(volume: torch.Tensor) -> torch.Tensor:
        shown.append(volume[0, 0])
        return torch.cat((volume, volume.flip(2)), dim=1)

    seen = glimpse_of(network, block, evidence())
    assert seen.wedge == WEDGE
    torch.testing.assert_close(seen.before, block.halves.mean(0))
    given = shown[0].double().numpy()
    kz, kx = np.fft.fftfreq(SHAPE[0])[:, None, None], np.fft.rfftfreq(SHAPE[2])[None, None, :]
    angles = np.broadcast_to(np.rad2deg(np.arctan2(kz, kx)), (*SHAPE[:2], SHAPE[2] // 2 + 1))
    there = (angles > -49) & (angles < 59) & (kx < 0.5) & (abs(kz) < 0.5)
    missing = ((angles < -51) | (angles > 61)) & (kx < 0.5) & (kx > 0) & (abs(kz) < 0.5)
    now, straight, flipped = (np.fft.rfftn(one) for one in (seen.now.double().numpy(), given, given[::-1]))
    assert there.sum() > 1000
    assert missing.sum() > 1000
    np.testing.assert_allclose(now[there], straight[there], atol=2e-3)
    np.testing.assert_allclose(now[missing], flipped[missing], atol=2e-3)


def test_it_is_of_the_middle_and_no_larger_than_asked_for() -> None:
    volume = torch.arange(24 * 40 * 48, dtype=torch.float32).view(SHAPE) % 97
    block = block_of(volume, volume, WEDGE, evidence(), margin=6)
    sizes: list[tuple[int, ...]] = []

    def network(shown: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(shown.shape))
        return torch.cat((shown, shown), dim=1)

    for most, sides in ((96, (8, 24, 32)), (20, (8, 16, 16))):
        seen = glimpse_of(network, block, evidence(), most)
        assert sizes[-1] == (1, 1, *sides)
        start = [(whole - part) // 2 for whole, part in zip(SHAPE, sides, strict=True)]
        part = tuple(slice(low, low + side) for low, side in zip(start, sides, strict=True))
        assert torch.equal(seen.before, block.halves[0][part])
