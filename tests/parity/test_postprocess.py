"""Our sharpening against `relion_postprocess` itself.

Its phases are randomised by its own generator, which no other program can repeat. With RELION's corrected curve ours is
the same map; with our own the difference is that between two of RELION's own seeds.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import mrcfile
import numpy as np
import pytest
import torch

from cryobridge.core.relion.postprocess import agreement, sharpen
from cryobridge.core.volume.phantom import phantom_pair
from cryobridge.wrappers.formats import mrc

pytestmark = pytest.mark.relion


@dataclass(frozen=True)
class Halves:
    half1: torch.Tensor
    half2: torch.Tensor
    mask: torch.Tensor
    voxel_A: float

    @property
    def average(self) -> torch.Tensor:
        return (self.half1 + self.half2) / 2


@dataclass(frozen=True)
class Theirs:
    volume: torch.Tensor
    resolution_A: float
    b_factor_A2: float
    curves: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def small() -> Halves:
    pair = phantom_pair(48, 2.0, 5.5, cone_deg=0.1, inside=1.0)
    return Halves(pair.half1, pair.half2, pair.mask, 2.0)


@pytest.fixture(scope="module")
def large(shared: Path) -> Halves:
    folder = shared / "data" / "sim_halfmaps" / "ha_4o5n_c3_topviews"
    if not folder.is_dir():
        pytest.skip("data/sim_halfmaps is not in the shared data folder")
    maps = [torch.from_numpy(mrcfile.read(folder / f"{name}.mrc.gz").copy()) for name in ("half1", "half2", "mask")]
    return Halves(*maps, 1.31)


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Halves:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


CASES = pytest.mark.parametrize("case", ["small", pytest.param("large", marks=pytest.mark.shared)], indirect=True)


def run_relion(halves: Halves, folder: Path, *options: str) -> Theirs:
    program = shutil.which("relion_postprocess")
    if program is None:
        pytest.skip("relion_postprocess is not installed (Debian, Ubuntu: apt install relion)")
    for name in ("half1", "half2", "mask"):
        mrc.write_atomically(folder / f"{name}.mrc", getattr(halves, name).numpy(), halves.voxel_A)
    given = [f"--{key}={folder / name}.mrc" for key, name in (("i", "half1"), ("i2", "half2"), ("mask", "mask"))]
    words = [word for pair in given for word in pair.split("=")]
    call = [program, *words, "--o", str(folder / "out"), "--angpix", str(halves.voxel_A), *options]
    subprocess.run(call, check=True, capture_output=True, timeout=120, cwd=folder)
    star = gemmi.cif.read(str(folder / "out.star"))
    general, table = star.find_block("general"), star.find_block("fsc")
    shown = {
        "unmasked": "UnmaskedMaps",
        "masked": "MaskedMaps",
        "corrected": "Corrected",
    }
    columns = {name: f"_rlnFourierShellCorrelation{tail}" for name, tail in shown.items()}
    columns["randomised"] = "_rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps"
    curves = {name: torch.tensor([float(v) for v in table.find_values(tag)]) for name, tag in columns.items()}
    return Theirs(
        torch.from_numpy(mrcfile.read(folder / "out.mrc").copy()),
        float(general.find_value("_rlnFinalResolution")),
        float(general.find_value("_rlnBfactorUsedForSharpening")),
        curves,
    )


def relative_rms(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).square().mean().sqrt() / theirs.std())


@CASES
def test_with_relions_curve_it_is_relions_map(case: Halves, tmp_path: Path) -> None:
    theirs = run_relion(case, tmp_path, "--auto_bfac", "--low_pass", "-1")
    ours = sharpen(case.average, theirs.curves["corrected"], case.voxel_A, fit_to_A=2 * case.voxel_A)
    assert ours.resolution_A == pytest.approx(theirs.resolution_A, rel=1e-5)
    assert ours.b_factor_A2 == pytest.approx(theirs.b_factor_A2, rel=3e-3)
    assert relative_rms(ours.volume, theirs.volume) < 2e-3


@CASES
@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--adhoc_bfac", "-80", "--low_pass", "8"], {"b_factor_A2": -80.0, "low_pass_A": 8.0}),
        (["--adhoc_bfac", "60", "--low_pass", "-1"], {"b_factor_A2": 60.0}),
    ],
)
def test_b_factors_and_low_passes_are_relions(
    case: Halves, tmp_path: Path, options: list[str], chosen: dict[str, Any]
) -> None:
    theirs = run_relion(case, tmp_path, *options)
    ours = sharpen(case.average, theirs.curves["corrected"], case.voxel_A, **chosen)
    assert ours.b_factor_A2 == theirs.b_factor_A2
    assert relative_rms(ours.volume, theirs.volume) < 2e-5


@CASES
def test_from_the_half_maps_alone_the_resolution_is_relions_and_the_map_is_close(case: Halves, tmp_path: Path) -> None:
    theirs = run_relion(case, tmp_path, "--adhoc_bfac", "-80", "--low_pass", "-1")
    agreed = agreement(case.half1, case.half2, case.mask)
    ours = sharpen(case.average, agreed.used, case.voxel_A, b_factor_A2=-80.0)
    assert ours.resolution_A == pytest.approx(theirs.resolution_A, rel=1e-5)
    assert relative_rms(ours.volume, theirs.volume) < 0.02
    # RELION counts the plane kx = 0 twice.
    for name in ("unmasked", "masked"):
        np.testing.assert_allclose(getattr(agreed.curves, name), theirs.curves[name], atol=0.01)
    start = agreed.curves.randomised_from
    assert start is not None
    for name in ("randomised", "corrected"):
        difference = (getattr(agreed.curves, name) - theirs.curves[name])[start + 2 :]
        assert float(difference.mean().abs()) < 0.02
        assert float(difference.abs().max()) < 0.15
