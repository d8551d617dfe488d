"""Maps are read with their place, level and voxel size; what differs between them is said."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cryobridge.bridge.worker.jobs.volumes import Pair, Volume, read_map, read_mask, read_pair
from cryobridge.core.volume import phantom_pair, soft_sphere
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.half_maps import HalfMapInputs
from cryobridge.wrappers.formats import mrc

N, VOXEL_A = 24, 2.0
MADE = phantom_pair(N, VOXEL_A, seed=2)
CENTRED = mrc.MapPosition((-12, -12, -12))


def write(
    path: Path,
    volume: torch.Tensor,
    voxel_size_A: float | tuple[float, float, float] = VOXEL_A,
    position: mrc.MapPosition = mrc.AT_ZERO,
) -> Path:
    mrc.write_atomically(path, volume.float().numpy(), voxel_size_A, position)
    return path


def pair_of(folder: Path, half1: torch.Tensor, half2: torch.Tensor, mask: torch.Tensor | None = None) -> Pair:
    paths = {"half1": write(folder / "half1.mrc", half1), "half2": write(folder / "half2.mrc", half2)}
    if mask is not None:
        paths["mask"] = write(folder / "mask.mrc", mask)
    return read_pair(HalfMapInputs.model_validate(paths))


def test_a_pair_lies_where_half_map_1_does_and_differences_are_said(tmp_path: Path) -> None:
    inputs = HalfMapInputs.model_validate(
        {
            "half1": write(tmp_path / "half1.mrc", MADE.half1, position=CENTRED),
            "half2": write(tmp_path / "half2.mrc", MADE.half2, position=CENTRED),
            "mask": write(tmp_path / "mask.mrc", MADE.mask),
        }
    )
    pair = read_pair(inputs)
    assert pair.position == CENTRED
    assert len(pair.remarks) == 1
    assert "mask.mrc: by its header it does not lie where" in pair.remarks[0]
    assert "start (-12, -12, -12)" in pair.remarks[0]


@pytest.mark.parametrize("level", [20.0, -3.0])
def test_a_level_is_taken_off_each_half(tmp_path: Path, level: float) -> None:
    """In one half only, it would have spoilt the mean."""
    deviation = float(MADE.half1.std())
    pair = pair_of(tmp_path, MADE.half1 + level * deviation, MADE.half2, MADE.mask)
    assert float((pair.half1.data - MADE.half1).abs().max()) < 0.1 * deviation
    torch.testing.assert_close(pair.half2.data, MADE.half2.float())
    assert [line for line in pair.remarks if "half1.mrc: its solvent lies at" in line] == list(pair.remarks)


def test_an_ordinary_pair_is_read_to_the_last_digit(tmp_path: Path) -> None:
    pair = pair_of(tmp_path, MADE.half1, MADE.half2, MADE.mask)
    assert torch.equal(pair.half1.data, MADE.half1.float())
    assert pair.remarks == ()
    assert pair.held_A == 2 * VOXEL_A
    curve = torch.rand(N // 2 + 1)
    assert torch.equal(pair.held(curve), curve)


def test_a_curve_ends_where_the_halves_do() -> None:
    half = Volume(Path("a.mrc"), MADE.half1, VOXEL_A)
    pair = Pair(half, half, None, (), 5)
    assert pair.held_A == N * VOXEL_A / 5
    assert pair.held(torch.ones(13)).tolist() == [1.0] * 6 + [0.0] * 7


@pytest.mark.parametrize("size", [0.0833, 0.002, 48.0, 2000.0])
def test_an_impossible_voxel_size_is_refused_and_can_be_given(tmp_path: Path, size: float) -> None:
    path = write(tmp_path / "map.mrc", MADE.half1, size)
    with pytest.raises(InputInvalid, match=re.escape(f"voxels of {size:.3g} A ") + ".*--apix"):
        read_map(path)
    volume = read_map(path, voxel_size_A=1.5)
    assert volume.voxel_size_A == 1.5
    assert "are 1.5 A as given" in volume.remarks[0]


def test_the_voxel_size_that_the_cell_may_mean_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "map.mrc", MADE.half1, 2.0 / N)
    with pytest.raises(InputInvalid, match=r"a cell of 2 A; the box has 24 voxels.*\(perhaps 2\)"):
        read_map(path)


@pytest.mark.parametrize("size", [0.0, (2.0, 2.0, 3.0), 2.5])
def test_a_given_voxel_size_is_that_of_all_maps(tmp_path: Path, size: float | tuple[float, float, float]) -> None:
    inputs = HalfMapInputs.model_validate(
        {
            "half1": write(tmp_path / "half1.mrc", MADE.half1, 0.0),
            "half2": write(tmp_path / "half2.mrc", MADE.half2, size),
        }
    )
    pair = read_pair(inputs, 2.0)
    assert pair.voxel_size_A == pair.half2.voxel_size_A == 2.0
    with pytest.raises(InputInvalid, match=r"half1\.mrc: its header gives no voxel size; give voxel_size_A \(--apix\)"):
        read_pair(inputs)


def test_a_mask_of_another_voxel_size_is_taken_voxel_by_voxel_and_said(tmp_path: Path) -> None:
    half = Volume(Path("half1.mrc"), MADE.half1, VOXEL_A)
    for size, said in ((2.0, 0), (0.0, 0), (1.0, 0), (3.0, 1)):
        found = read_mask(write(tmp_path / "mask.mrc", soft_sphere(N, 7.0, 2.0), size), half)
        assert len(found.remarks) == said, size
        assert found.voxel_size_A == VOXEL_A


def test_bytes_of_imod_are_unsigned(tmp_path: Path) -> None:
    import mrcfile

    inside = soft_sphere(N, 7.0, 0.0).numpy()
    with mrcfile.new(tmp_path / "mask.mrc") as file:
        file.set_data((inside * 255).astype(np.uint8).view(np.int8))
        file.voxel_size = VOXEL_A
    raw = bytearray((tmp_path / "mask.mrc").read_bytes())
    raw[152:160] = (1146047817).to_bytes(4, "little") + (0).to_bytes(4, "little")
    (tmp_path / "mask.mrc").write_bytes(raw)
    found = read_mask(tmp_path / "mask.mrc", Volume(Path("half1.mrc"), MADE.half1, VOXEL_A))
    assert np.array_equal(found.data.numpy(), inside)
    assert "holds only 0 and 255" in found.remarks[0]
