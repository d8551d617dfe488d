"""Wedges that were made up are found by direction; honest results and specimens of few directions are let alone."""

from __future__ import annotations

import functools

import pytest
import torch

from cryobridge.core.tomogram import (
    DirectionalPower,
    GhostWedge,
    SectorRatios,
    SignalEvidence,
    TomogramBlock,
    Wedge,
    agreement_of,
    block_of,
    filtered,
    frequencies,
    wedge_weight,
)

SIDE = 48
SHAPE = (SIDE,) * 3
PLANES = {"y": (0, 2), "x": (0, 1), "z": (1, 2)}


def proteins(seed: int = 3) -> torch.Tensor:
    """Balls, alike in all directions."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.arange(SIDE, dtype=torch.float32)
    density = torch.zeros(SHAPE)
    for _ in range(60):
        places = torch.rand(3, generator=generator) * SIDE
        density = torch.maximum(density, torch.einsum("z,y,x->zyx", *(_bump(axis - c, 1.2) for c in places)))
    return density


def membranes(tilt: float = 0.0) -> torch.Tensor:
    """Four flat discs one above the other, tilted about y, and nothing else."""
    axis = torch.arange(SIDE, dtype=torch.float32) - SIDE / 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    density = torch.zeros(SHAPE)
    for height in (-15, -6, 4, 14):
        inside = torch.sigmoid(16 - (y.square() + x.square()).sqrt())
        density = torch.maximum(density, _bump(z - height + tilt * x, 1.0) * inside)
    return density


def rods() -> torch.Tensor:
    """Filaments along the tilt axis."""
    generator = torch.Generator().manual_seed(5)
    axis = torch.arange(SIDE, dtype=torch.float32)
    density = torch.zeros(SHAPE)
    for _ in range(8):
        z, x = torch.rand(2, generator=generator) * SIDE
        density = torch.maximum(
            density, torch.einsum("z,y,x->zyx", _bump(axis - z, 1.5), torch.ones(SIDE), _bump(axis - x, 1.5))
        )
    return density


def _bump(distance: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.exp(-0.5 * (distance / sigma).square())


SPECIMENS = {
    "proteins": proteins,
    "lying membranes": membranes,
    "tilted membranes": lambda: membranes(0.5),
    "standing membranes": lambda: membranes().transpose(0, 2).contiguous(),
    "rods": rods,
}


@functools.cache
def made(name: str) -> tuple[TomogramBlock, SignalEvidence, torch.Tensor]:
    """A specimen of `SPECIMENS` as it is seen."""
    return seen(SPECIMENS[name]())


def seen(
    density: torch.Tensor, wedge: Wedge | None = None, noise: float = 0.5
) -> tuple[TomogramBlock, SignalEvidence, torch.Tensor]:
    """A specimen as a block of two halves, and an honest result: the Wiener filter's, filled with most of the truth."""
    generator = torch.Generator().manual_seed(9)
    wedge = wedge or Wedge.of_range()
    truth = (density - density.mean()) / density.std()
    weight = wedge_weight(wedge, SHAPE)
    even, odd = (-filtered(truth + noise * torch.randn(SHAPE, generator=generator), weight) for _ in range(2))
    evidence = SignalEvidence(agreement_of([(even, odd)], wedge), 1, 0.0, 1.0)
    block = block_of(even, odd, wedge, evidence)
    gain = evidence.gain.at(SHAPE)
    wiener = torch.fft.rfftn(block.halves.mean(0)) * gain
    return block, evidence, block.weight * wiener + (1 - block.weight) * 0.6 * gain * torch.fft.rfftn(truth)


def ratios(block: TomogramBlock, evidence: SignalEvidence, spectrum: torch.Tensor) -> SectorRatios:
    power = DirectionalPower()
    power.add(block, spectrum, evidence)
    return power.ratios(evidence)


def ghost_sector(axis: str, middle_deg: float, width_deg: float, gain: float) -> torch.Tensor:
    """1, and another gain in a sector about an axis, with soft ends."""
    k = frequencies(SHAPE)
    rise, run = (k[place] for place in PLANES[axis])
    angle = torch.rad2deg(torch.atan2(torch.where(run < 0, -rise, rise), run.abs()))
    distance = (angle - middle_deg).abs()
    distance = torch.minimum(distance, 180 - distance)
    return 1 + (gain - 1) * ((width_deg / 2 - distance) / 3 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("name", SPECIMENS)
def test_an_honest_result_has_no_ghost(name: str) -> None:
    assert ratios(*made(name)).ghost() is None


@pytest.mark.parametrize(
    ("axis", "middle_deg", "width_deg", "gain", "region"),
    [
        ("y", 25, 20, 0.15, "measured"),
        ("y", -40, 15, 0.15, "measured"),
        ("y", 30, 15, 2.0, "measured"),
        ("y", 85, 14, 0.1, "filled"),
        ("x", 45, 20, 0.1, "filled"),
        ("x", 80, 30, 0.1, "filled"),
        ("x", 50, 20, 4.0, "filled"),
        ("z", 30, 20, 0.1, "measured"),
        ("z", 60, 20, 2.5, "measured"),
    ],
)
def test_a_sector_that_was_emptied_or_raised_is_found_where_it_is(
    axis: str, middle_deg: float, width_deg: float, gain: float, region: str
) -> None:
    block, evidence, spectrum = made("proteins")
    found = ratios(block, evidence, spectrum * ghost_sector(axis, middle_deg, width_deg, gain)).ghost()
    assert found is not None
    assert (found.axis, (found.ratio < 1)) == (axis, gain < 1)
    assert found.low_deg < middle_deg < found.high_deg
    assert found.high_deg - found.low_deg <= width_deg + 20
    assert axis == "x" or found.region == region


def test_a_hole_is_found_in_a_specimen_of_few_directions_where_the_data_have_something() -> None:
    """A result that lost its membranes: the directions of them are empty, and the data's are not."""
    block, evidence, spectrum = seen(SPECIMENS["standing membranes"]() + 0.3 * proteins())
    assert ratios(block, evidence, spectrum).ghost() is None
    found = ratios(block, evidence, spectrum * ghost_sector("y", 0, 30, 0.1)).ghost()
    assert found is not None
    assert (found.axis, found.region, found.ratio < 0.5) == ("y", "measured", True)


def test_the_ratio_of_a_measured_sector_is_that_of_amplitudes() -> None:
    block, evidence, spectrum = seen(proteins(), noise=0.05)
    found = ratios(block, evidence, spectrum * ghost_sector("y", 25, 30, 0.5))
    about_y = found.likely[0, 0]
    # Sectors are ten degrees each from -90: the third of 20 to 30 degrees is the twelfth.
    assert float(about_y[11]) == pytest.approx(0.5, abs=0.05)
    assert float(about_y[5]) == pytest.approx(1.0, abs=0.05)
    assert bool(about_y[:2].isnan().all())


def test_where_next_to_nothing_was_filled_its_directions_say_nothing() -> None:
    block, evidence, spectrum = made("proteins")
    found = ratios(block, evidence, spectrum * (block.weight + 0.01 * (1 - block.weight)))
    assert bool(found.likely[1].isnan().all())
    assert found.ghost() is None
    assert found.extremes("filled") is None


def test_a_network_that_takes_much_of_every_shell_is_no_ghost() -> None:
    block, evidence, spectrum = made("proteins")
    kz, ky, kx = frequencies(SHAPE)
    damping = torch.exp(-8 * (kz.square() + ky.square() + kx.square()))
    assert ratios(block, evidence, spectrum * damping).ghost() is None


def test_blocks_add_up_whatever_their_order_and_size() -> None:
    whole, evidence, _ = made("proteins")
    part = block_of(-whole.halves[0, :32, :32], -whole.halves[1, :32, :32], whole.wedge, evidence)
    sums = []
    for order in ((whole, part), (part, whole)):
        power = DirectionalPower()
        for block in order:
            power.add(block, torch.fft.rfftn(block.halves[0]), evidence)
        sums.append(power.sums)
    assert torch.allclose(sums[0], sums[1])
    assert float(sums[0].sum()) > 0


def test_a_sector_across_the_end_of_the_half_circle_is_told_as_one() -> None:
    block, evidence, spectrum = seen(proteins(), Wedge.of_range(-30, 30))
    found = ratios(block, evidence, spectrum * ghost_sector("y", 90, 40, 0.1)).ghost()
    assert isinstance(found, GhostWedge)
    assert found.region == "filled"
    assert found.low_deg == pytest.approx(70)
    assert found.high_deg == pytest.approx(110)
