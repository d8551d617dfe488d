"""Point groups against known facts and RELION, averages against maps built from the atoms of all copies."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from itertools import permutations, product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cryobridge.core.fourier.transforms import apply_filter, centred_spectrum, forward, half_of_centred, radius
from cryobridge.core.volume.symmetry import generators, operators, symmetrise, symmetrise_spectrum, turned

ORDERS = {"C1": 1, "C3": 3, "D2": 4, "D7": 14, "T": 12, "O": 24, "I": 60, "I1": 60, "I2": 60, "I3": 60, "I4": 60}
# From RELION's documentation of its frames: how many-fold which axis (x, y, z) is.
AXES = [
    ("C3", 3, (0, 0, 1)),
    ("D2", 2, (1, 0, 0)),
    ("D2", 2, (0, 1, 0)),
    ("D7", 7, (0, 0, 1)),
    ("D7", 2, (1, 0, 0)),
    ("T", 3, (0, 0, 1)),
    ("T", 2, (0, 0.81650, 0.57735)),
    ("O", 4, (0, 0, 1)),
    ("O", 4, (1, 0, 0)),
    ("O", 3, (0.57735, 0.57735, 0.57735)),
    ("I1", 2, (1, 0, 0)),
    ("I1", 2, (0, 0, 1)),
    ("I1", 5, (0.85065, 0, -0.52573)),
    ("I1", 3, (0.93417, 0.35682, 0)),
    ("I2", 2, (0, 0, 1)),
    ("I2", 5, (0.52573, 0, 0.85065)),
    ("I2", 3, (0, 0.35682, 0.93417)),
    ("I3", 5, (0, 0, 1)),
    ("I3", 2, (-0.52573, 0, 0.85065)),
    ("I3", 3, (-0.49112, 0.35682, 0.79465)),
    ("I4", 5, (0, 0, 1)),
    ("I4", 5, (0.89443, 0, 0.44721)),
    ("I4", 2, (0.52573, 0, 0.85065)),
    ("I4", 3, (0.49112, 0.35682, 0.79465)),
]


def _signed_permutations(keep_axes: bool) -> Tensor:
    """The rotations (k, 3, 3) that map the axes onto themselves; with `keep_axes` each onto itself."""
    found = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = torch.zeros(3, 3, dtype=torch.float64)
            for row, (column, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[row, column] = sign
            if float(torch.linalg.det(matrix)) > 0 and (not keep_axes or order == (0, 1, 2)):
                found.append(matrix)
    return torch.stack(found)


def _thirds() -> Tensor:
    """The three rotations about z by thirds of a turn."""
    c, s = -0.5, math.sqrt(3) / 2
    third = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1.0]], dtype=torch.float64)
    return torch.stack((torch.eye(3, dtype=torch.float64), third, third.T))


COPIES = {"C3": _thirds(), "D2": _signed_permutations(keep_axes=True), "O": _signed_permutations(keep_axes=False)}


def _density(atoms: Tensor, n: int, deviation: float = 1.5) -> Tensor:
    """Gaussians (n, n, n) at atoms (k, 3) x, y, z, in voxels from voxel n // 2."""
    axis = torch.arange(n, dtype=torch.float64) - n // 2
    x, y, z = (torch.exp(-0.5 * ((axis - atoms[:, i : i + 1]) / deviation) ** 2) for i in range(3))
    return torch.einsum("az,ay,ax->zyx", z, y, x).float()


def _atoms(reach: float) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(6, 3, generator=generator, dtype=torch.float64) * 2 - 1) * reach


def _nearest(matrix: Tensor, group: Tensor) -> float:
    return float((group - matrix).abs().amax(dim=(1, 2)).min())


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_groups_are_groups_of_rotations(name: str, order: int) -> None:
    group = operators(name)
    assert group.shape == (order, 3, 3)
    assert group.dtype == torch.float64
    assert torch.equal(group[0], torch.eye(3, dtype=torch.float64))
    assert torch.allclose(group @ group.transpose(1, 2), torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(torch.linalg.det(group), torch.ones(order, dtype=torch.float64), atol=1e-12)
    distances = (group[:, None] - group[None]).abs().amax(dim=(2, 3)) + 9 * torch.eye(order)
    assert float(distances.min()) > 0.1
    products = (group[:, None] @ group[None]).reshape(-1, 3, 3)
    assert max(_nearest(product_, group) for product_ in products) < 1e-12


@pytest.mark.parametrize(("name", "fold", "axis"), AXES)
def test_axes_are_where_relion_has_them(name: str, fold: int, axis: tuple[float, float, float]) -> None:
    direction = torch.tensor(axis, dtype=torch.float64)
    kept = [m for m in operators(name) if float((m @ direction - direction).abs().max()) < 1e-4]
    assert len(kept) == fold
    # The trace of a rotation is 1 + 2 cos(angle).
    expected = sorted(1 + 2 * math.cos(2 * math.pi * k / fold) for k in range(fold))
    assert sorted(float(m.trace()) for m in kept) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", COPIES)
def test_simple_groups_are_their_textbook_matrices(name: str) -> None:
    group = operators(name)
    assert len(group) == len(COPIES[name])
    assert max(_nearest(matrix, group) for matrix in COPIES[name]) < 1e-12


@pytest.mark.relion
@pytest.mark.parametrize("name", ["C3", "D2", "D7", "T", "O", "I1", "I2", "I3", "I4"])
def test_matrices_are_the_ones_that_relion_prints(name: str, tmp_path: Path) -> None:
    program = shutil.which("relion_refine")
    if program is None:
        pytest.skip("relion_refine is not installed")
    command = [program, "--print_symmetry_ops", "--sym", name]
    said = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False).stdout
    blocks = re.findall(r"R\(\d+\)=\s*\n((?:[^\n]*\n){3})", said)
    printed = torch.tensor([[float(word) for word in block.split()] for block in blocks], dtype=torch.float64)
    group = operators(name)
    assert len(printed) == len(group)
    # It prints five digits.
    assert max(_nearest(matrix.view(3, 3), group) for matrix in printed) < 1e-4


@pytest.mark.parametrize("name", ["I5", "C0", "D", "C3v", "", "4"])
def test_unknown_groups_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match="choose one of C<n>, D<n>, T, O, I "):
        operators(name)


def test_names_may_be_in_small_letters() -> None:
    assert torch.equal(operators("i2"), operators("I"))
    assert torch.equal(operators(" d7 "), operators("D7"))


@pytest.mark.parametrize("n", [31, 32])
@pytest.mark.parametrize("name", COPIES)
def test_the_average_is_the_map_of_all_copies_of_the_atoms(name: str, n: int) -> None:
    atoms = _atoms(5.5)
    one = _density(atoms, n)
    every = sum(_density(atoms @ matrix.T, n) for matrix in COPIES[name]) / len(COPIES[name])
    assert isinstance(every, Tensor)
    found = symmetrise(one, operators(name))
    assert float((found - every).abs().max()) < 1e-3 * float(every.max())
    assert float((one - every).abs().max()) > 0.1 * float(every.max())
    again = symmetrise(found, operators(name))
    assert float((again - found).abs().max()) < 1e-3 * float(every.max())


@pytest.mark.slow
@pytest.mark.parametrize("band", [0.5, 0.67])
def test_a_rotated_map_is_read_as_its_fourier_sum_says(band: float) -> None:
    n, group = 24, operators("I3")
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(n, n, n, generator=generator)
    volume = apply_filter(noise, (radius(n) < band * n / 2).float())
    voxels = torch.nonzero(radius_of_voxels(n) < n / 2 - 2)
    voxels = voxels[torch.randperm(len(voxels), generator=generator)[:20]]
    places = torch.einsum("gij,vj->vgi", group, (voxels - n // 2).flip(1).double()) + n // 2
    k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    x, y, z = (torch.exp(2j * torch.pi * places[..., i].reshape(-1, 1) * k / n) for i in range(3))
    spectrum = torch.fft.fftn(volume.double())
    exact = torch.einsum("pz,py,px,zyx->p", z, y, x, spectrum).real.view(len(voxels), -1).mean(dim=1) / n**3
    found = symmetrise(volume, group)[tuple(voxels.T)].double()
    assert float((found - exact).norm() / exact.norm()) < (5e-4 if band == 0.5 else 2e-3)


def radius_of_voxels(n: int) -> Tensor:
    axis = torch.arange(n) - n // 2
    return (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).double().sqrt()


@pytest.mark.parametrize("n", [15, 16])
def test_corners_keep_their_level(n: int) -> None:
    """Where rotations lead out of the box, those that stay inside still count as a whole."""
    assert torch.allclose(symmetrise(torch.full((n, n, n), 3.0), operators("I1")), torch.tensor(3.0), atol=1e-4)


def test_the_trivial_group_changes_nothing() -> None:
    volume = torch.randn(12, 12, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(symmetrise(volume, operators("C1")), volume)
    values = radius(12)
    assert torch.equal(symmetrise_spectrum(values, operators("C1")), values)


@pytest.mark.parametrize("n", [24, 25])
@pytest.mark.parametrize(("name", "expected"), [("C3", "about z"), ("O", "everywhere")])
def test_a_weight_of_a_direction_is_averaged_over_its_copies(n: int, name: str, expected: str) -> None:
    """cos^2 of the angle to x averages to sin^2(theta) / 2 over turns about z, to 1/3 over the cube's rotations."""
    k = torch.fft.fftfreq(n, 1 / n)
    z, y, x = torch.meshgrid(k, k, torch.arange(n // 2 + 1).float(), indexing="ij")
    square = (x**2 + y**2 + z**2).clamp(min=1)
    found = symmetrise_spectrum(x**2 / square, operators(name))
    truth = (x**2 + y**2) / square / 2 if expected == "about z" else torch.full_like(x, 1 / 3)
    counted = (radius(n) >= 4) & (radius(n) < n // 2)
    assert float((found - truth)[counted].abs().max()) < 0.03
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


@pytest.mark.parametrize("n", [16, 17])
def test_a_symmetrised_weight_is_that_of_a_real_map(n: int) -> None:
    noise = torch.randn(n, n, n, generator=torch.Generator().manual_seed(2))
    values = half_of_centred(centred_spectrum(forward(noise).abs()))
    found = symmetrise_spectrum(values, operators("D7"))
    assert torch.equal(half_of_centred(centred_spectrum(found)), found)
    assert float(found[0, 0, 0]) == pytest.approx(float(values[0, 0, 0]), rel=1e-5)


def test_half_turns_move_voxels_of_the_spectrum_exactly() -> None:
    n = 17
    values = half_of_centred(torch.rand(n, n, n, generator=torch.Generator().manual_seed(4)))
    whole = centred_spectrum(values)
    copies = [whole, whole.flip(1, 2), whole.flip(0, 1), whole.flip(0, 2)]
    expected = half_of_centred(sum(copies, torch.zeros(n, n, n)) / 4)
    assert torch.allclose(symmetrise_spectrum(values, operators("D2")), expected, atol=1e-5)


def test_map_and_weight_turn_alike() -> None:
    """Averaging a symmetric map that was filtered is filtering it with the averaged filter."""
    n, group = 24, operators("C3")
    volume = symmetrise(_density(_atoms(4.0), n), group)
    k = torch.fft.fftfreq(n, 1 / n)
    weight = torch.exp(-((k.view(n, 1, 1) / 20) ** 2) - ((k.view(1, n, 1) / 7) ** 2)) * torch.ones(n // 2 + 1)
    expected = apply_filter(volume, symmetrise_spectrum(weight, group))
    found = symmetrise(apply_filter(volume, weight), group)
    moved = float((apply_filter(volume, weight) - expected).abs().max())
    assert float((found - expected).abs().max()) < 0.1 * moved


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="cubic"):
        symmetrise(torch.zeros(4, 4, 5), operators("C3"))
    with pytest.raises(ValueError, match="half-spectrum"):
        symmetrise_spectrum(torch.zeros(4, 4, 4), operators("C3"))
    with pytest.raises(ValueError, match=r"\(k, 3, 3\)"):
        symmetrise(torch.zeros(4, 4, 4), torch.eye(3))


@pytest.mark.parametrize("group", ["C1", "C2", "C7", "D2", "D3", "T", "O", "I1", "I2", "I3", "I4"])
def test_generators_make_the_whole_group(group: str) -> None:
    members = [torch.eye(3, dtype=torch.float64)]
    for member in members:
        for element in generators(group):
            product = element.rotation @ member
            if all(float((product - other).abs().max()) > 1e-6 for other in members):
                members.append(product)
    assert len(members) == len(operators(group))


def test_generators_are_named_by_order_and_axis() -> None:
    assert [element.name for element in generators("D7")] == ["7-fold on z", "2-fold on x"]
    assert generators("o")[1].name == "3-fold on (0.58, 0.58, 0.58)"
    assert generators("C1") == []
    with pytest.raises(ValueError, match="not a point group"):
        generators("D")


def test_turned_by_a_quarter_is_exact() -> None:
    volume = torch.randn(9, 9, 9, generator=torch.Generator().manual_seed(0))
    found = turned(volume, operators("C4")[1])
    back = torch.rot90(volume, 1, (1, 2)), torch.rot90(volume, -1, (1, 2))
    assert min(float((found - one).abs().max()) for one in back) < 1e-4
