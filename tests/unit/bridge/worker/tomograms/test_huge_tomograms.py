"""A tomogram of 4096 x 4096 x 1200 voxels passes within 8 GB of host memory: what is held at once, reckoned."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
import torch
from support.tomogram_tables import write_table

from cryobridge.bridge.worker.kinds.tomo.deconv import steps_of
from cryobridge.bridge.worker.tomograms.halves import blocks_of, opened_halves
from cryobridge.core.tomogram import DeconvolutionFilter, VolumeBlock, Wedge, coarse_grid
from cryobridge.schemas.describe import describe_kind
from cryobridge.schemas.job import JOB_MODELS, parse_job
from cryobridge.schemas.kinds import load_kind
from cryobridge.schemas.kinds.tomo.correct import LARGEST_BLOCK as CORRECTED_AT_ONCE
from cryobridge.schemas.kinds.tomo.deconv import LARGEST_BLOCK, DeconvOptions
from cryobridge.wrappers.tomograms.table import read_tomogram_table
from cryobridge.wrappers.tomograms.volumes import TomogramVolume, volume_paths

SHAPE = (1200, 4096, 4096)
MOST_BYTES = 8e9


@pytest.mark.parametrize("kind", ["tomo.deconv", "tomo.make_mask", "tomo.extract", "tomo.resize", "tomo.correct"])
def test_a_job_plans_less_than_8_GB(kind: str) -> None:
    load_kind(kind)
    job = parse_job(describe_kind(JOB_MODELS[kind]).example(), "example")
    assert job.memory(max(SHAPE), "cpu").of_host("cpu") < MOST_BYTES


def test_the_blocks_of_a_deconvolution_are_bounded_and_cover_it() -> None:
    """About 20 bytes a voxel were measured for a transform, its filter and what makes that."""
    steps = steps_of(SHAPE, DeconvolutionFilter(10.0, 38000.0), DeconvOptions(), torch.device("cpu"))
    read = [block.read for block in steps.blocks] + [spans for _, spans in steps.coarse_parts]
    largest = max(math.prod(stop - start for start, stop in spans) for spans in read)
    assert largest <= LARGEST_BLOCK**3
    coarse = math.prod(coarse_grid(SHAPE).shape)
    assert 40 * max(largest, coarse) + 4 * coarse < MOST_BYTES
    assert sum(math.prod(stop - start for start, stop in block.kept) for block in steps.blocks) == math.prod(SHAPE)


def test_its_windows_are_read_out_of_a_file_larger_than_memory(tmp_path: Path) -> None:
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, *reversed(SHAPE), 12)
    struct.pack_into("<3i", header, 28, *reversed(SHAPE))
    struct.pack_into("<6f", header, 40, *(10.0 * size for size in reversed(SHAPE)), 90, 90, 90)
    struct.pack_into("<3i", header, 64, 1, 2, 3)
    header[208:216] = b"MAP \x44\x44\x00\x00"
    with (tmp_path / "huge.mrc").open("wb") as file:
        file.write(header)
        file.truncate(1024 + 2 * math.prod(SHAPE))
    star = write_table(tmp_path, [{"rlnIndex": 1, "rlnMicrographName": "huge.mrc"}])
    (row,) = read_tomogram_table(star).tomograms
    with TomogramVolume(row, volume_paths(row)) as volume:
        assert volume.pixel_size_A == 10.0
        assert volume.mirrored(((-5, 20), (4090, 4100), (0, 50))).shape == (25, 10, 50)
        assert volume.sections_at_a_time() * SHAPE[1] * SHAPE[2] * 4 < 1e8
    with opened_halves(row, Wedge.of_range()) as halves:
        cut, margin = blocks_of(halves, 2)
        assert sum(math.prod(stop - start for start, stop in one.kept) for one in cut) == math.prod(SHAPE)
        assert max(math.prod(stop - start for start, stop in one.read) for one in cut) <= CORRECTED_AT_ONCE**3
        even, odd = halves.block(VolumeBlock(cut[0].kept, ((-32, 0), (4080, 4112), (0, 16))), torch.device("cpu"))
        assert even.shape == odd.shape == (32, 32, 16)
        assert margin == 32
