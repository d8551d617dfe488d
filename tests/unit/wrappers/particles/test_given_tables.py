"""Tables beside particles, and what they change of what the particles' own table says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.small_stacks import COUNT, Truth, numbered_images, star30, star31, write_stack

from cryobridge.wrappers.particles.legacy_tables import legacy_ctf
from cryobridge.wrappers.particles.reading import read_particles


@pytest.mark.parametrize("sort", ["3.0", "3.1"])
def test_origins_stay_in_the_unit_of_their_table_when_ctf_beside_it_has_another_pixel_size(
    tmp_path: Path, sort: str
) -> None:
    truth = Truth()
    write_stack(tmp_path / "stack.mrcs", numbered_images())
    names = [f"{row + 1:06d}@stack.mrcs" for row in range(COUNT)]
    path = tmp_path / "particles.star"
    path.write_text({"3.0": star30, "3.1": star31}[sort](truth, names))
    alone = read_particles(path)
    larger = replace(alone, pixel_size_A=1.1 * alone.pixel_size_A)
    (tmp_path / "ctf.pkl").write_bytes(legacy_ctf(larger))
    found = read_particles(path, ctf=tmp_path / "ctf.pkl")
    assert found.shifts_A is not None
    expected_px = truth.origin_px / (1.0 if sort == "3.0" else 1.1)
    assert np.allclose(found.pixel_size_A, 1.1 * truth.size_A, rtol=1e-6)
    assert np.allclose(found.shifts_A / found.pixel_size_A[:, None], expected_px, rtol=1e-5, atol=1e-6)
