"""Every kind of map job keeps where maps lie, takes a voxel size in place of the header's, and knows its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.map_jobs import run_map_job

from cryobridge.core.volume import phantom_pair
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import JOB_MODELS, user_kinds
from cryobridge.wrappers.formats import mrc

N, VOXEL_A = 24, 2.0
PLACE = mrc.MapPosition((-12, 3, 7), (10.0, -20.0, 30.5))
QUICK = {"steps": 1, "preset": "tiny", "cube_size": 16, "crop_size": 32, "batch": 1, "ensemble": 2, "postprocess": True}
KINDS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "map.fsc3d": (("half1", "half2", "mask"), {}),
    "map.diagnose": (("half1", "half2", "mask", "corrected1", "corrected2"), {}),
    "map.postprocess": (("half1", "half2", "mask"), {"sharpening": "none"}),
    "map.correct": (("half1", "half2"), QUICK),
    "map.whiten": (("map", "mask"), {"low_resolution_A": 16.0, "high_resolution_A": 5.0}),
    "map.lowpass": (("map",), {"resolution_A": 8.0}),
    "map.combine": (("low", "high", "mask"), {"threshold_resolution_A": 12.0}),
}
LIMITS = {
    "map.fsc3d": ("limit_resolution_A",),
    "map.diagnose": ("limit_resolution_A",),
    "map.postprocess": ("fit_from_A", "fit_to_A", "low_pass_A"),
    "map.correct": ("limit_resolution_A",),
    "map.whiten": ("high_resolution_A", "low_resolution_A"),
    "map.lowpass": ("resolution_A",),
    "map.combine": ("threshold_resolution_A",),
}
FOURIER = {"FSC3D.mrc"}


def files(folder: Path, kind: str, voxel_size_A: float = VOXEL_A, position: mrc.MapPosition = PLACE) -> dict[str, Path]:
    made = phantom_pair(N, VOXEL_A, seed=3)
    volumes = {"half2": made.half2, "corrected2": made.half2, "low": made.half2, "mask": made.mask}
    paths = {}
    for key in KINDS[kind][0]:
        paths[key] = folder / f"{key}.mrc"
        volume: torch.Tensor = volumes.get(key, made.half1)
        mrc.write_atomically(paths[key], volume.float().numpy(), voxel_size_A, position)
    return paths


def test_no_kind_is_left_out() -> None:
    reading = {kind for kind in user_kinds() if kind.startswith("map.")} - {"map.sampling"}
    assert set(KINDS) == set(LIMITS) == reading
    for kind in reading:
        options = JOB_MODELS[kind].model_fields["options"].annotation
        assert options is not None
        resolutions = {
            name for name in options.model_fields if "resolution_A" in name or name.endswith(("_to_A", "pass_A"))
        }
        assert resolutions - {"reference_resolution_A"} <= set(LIMITS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_maps_lie_where_their_inputs_do(tmp_path: Path, kind: str) -> None:
    result, _ = run_map_job(kind, tmp_path / "out", files(tmp_path, kind), KINDS[kind][1])
    written = [name for name in result["outputs"] if name.endswith(".mrc")]
    assert written
    for name in written:
        expected = mrc.AT_ZERO if name in FOURIER else PLACE
        assert mrc.read_header(tmp_path / "out" / name).position == expected, name
    assert result["metrics"]["voxel_size_A"] == VOXEL_A
    assert not any("by its header" in line for line in result["statements"])


@pytest.mark.parametrize("header_A", [0.0, 0.01])
@pytest.mark.parametrize("kind", KINDS)
def test_a_voxel_size_can_be_given(tmp_path: Path, kind: str, header_A: float) -> None:
    if header_A and kind == "map.correct":
        pytest.skip("it reads its pair as map.postprocess does")
    paths, options = files(tmp_path, kind, header_A), {**KINDS[kind][1], "apix": 2.0}
    result, _ = run_map_job(kind, tmp_path / "out", paths, options)
    assert result["metrics"]["voxel_size_A"] == result["options"]["voxel_size_A"] == 2.0
    for name in (name for name in result["outputs"] if name.endswith(".mrc")):
        assert mrc.read_header(tmp_path / "out" / name).voxel_size_A == (2.0, 2.0, 2.0)
    assert any("are 2 A as given" in line for line in result["statements"]) is (header_A > 0)


@pytest.mark.parametrize("value_A", [1.0, 500.0])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in LIMITS.items() for name in names])
def test_limits_that_cannot_be_are_refused_and_nothing_is_written(
    tmp_path: Path, kind: str, name: str, value_A: float
) -> None:
    options = {**KINDS[kind][1], name: value_A}
    if kind == "map.whiten":
        options = {name: value_A, **({"low_resolution_A": 600.0} if name.startswith("high") else {})}
        options |= {"high_resolution_A": 0.5} if name.startswith("low") else {}
    with pytest.raises(InputInvalid, match=r"not between|nothing to level"):
        run_map_job(kind, tmp_path / "out", files(tmp_path, kind), options)
    assert not (tmp_path / "out").exists()


def test_defaults_end_with_the_grid_and_are_recorded_as_used(tmp_path: Path) -> None:
    result, _ = run_map_job("map.whiten", tmp_path / "out", files(tmp_path, "map.whiten"), {})
    assert result["options"]["high_resolution_A"] == 4.0
    assert result["options"]["low_resolution_A"] == 10.0
    (tmp_path / "p.star").write_text(
        "data_particles\n\nloop_\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n"
        + "".join(f"{7 * i % 360} {3 * i % 180} {i}\n" for i in range(200))
    )
    options = {"box": 24, "apix": 2.0}
    result, _ = run_map_job("map.sampling", tmp_path / "views", {"particles": tmp_path / "p.star"}, options)
    assert result["options"]["high_resolution_A"] == 4.0
    assert result["options"]["low_resolution_A"] == 48.0
    with pytest.raises(InputInvalid, match="high_resolution_A 1 is not between 48 A"):
        run_map_job(
            "map.sampling", tmp_path / "more", {"particles": tmp_path / "p.star"}, {**options, "high_resolution_A": 1.0}
        )
