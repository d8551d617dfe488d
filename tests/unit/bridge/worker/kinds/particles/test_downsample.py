"""`particles.downsample` as the job runner does it: pixels, headers, tables; and inputs that leave nothing behind."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import starfile
import torch
from support.map_jobs import run_map_job, write_maps
from support.small_stacks import (
    BOX,
    COUNT,
    SIZE_A,
    Truth,
    cs_columns,
    numbered_images,
    star30,
    star31,
    write_stack,
)

from cryobridge.core.particles import downsampled_images, downsampled_volume
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.wrappers.formats.cs_table import read_table, write_table
from cryobridge.wrappers.formats.pickled_arrays import pickled
from cryobridge.wrappers.particles.image_reader import read_images
from cryobridge.wrappers.particles.reading import read_particles

KIND = "particles.downsample"
SMALL = 8
TRUTH = Truth()
HALF = COUNT // 2
NAMES = [f"{row % HALF + 1:06d}@stacks/{'ab'[row // HALF]}.mrcs" for row in range(COUNT)]
IMAGES = numbered_images() + np.random.default_rng(0).integers(0, 9, (COUNT, BOX, BOX)).astype(np.float32)
SMALLER = downsampled_images(torch.from_numpy(IMAGES), SMALL).numpy()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "stacks").mkdir()
    write_stack(tmp_path / "stacks/a.mrcs", IMAGES[:HALF])
    write_stack(tmp_path / "stacks/b.mrcs", IMAGES[HALF:])
    (tmp_path / "all.txt").write_text("stacks/a.mrcs\nstacks/b.mrcs\n")
    (tmp_path / "31.star").write_text(star31(TRUTH, NAMES, rlnGroupName=['"my group"'] * COUNT))
    (tmp_path / "30.star").write_text(star30(TRUTH, NAMES))
    paths = [name.partition("@")[2] for name in NAMES]
    columns = cs_columns(TRUTH, paths, [int(name[:6]) - 1 for name in NAMES])
    write_table(tmp_path / "a.cs", columns | {"other/column": np.arange(COUNT)})
    return tmp_path


def run(project: Path, name: str, **options: Any) -> dict[str, Any]:
    more = {key: options.pop(key) for key in ("selection", "datadir") if key in options}
    inputs = {"particles": project / name, **more}
    result, _ = run_map_job(KIND, project / "out", inputs, {"D": SMALL, **options})
    return result


@pytest.mark.parametrize("name", ["31.star", "a.cs"])
def test_memory_is_reckoned_by_the_size_of_tables_and_not_of_stacks(project: Path, name: str) -> None:
    def reckoned(path: Path) -> int:
        spec = {"schema": "cryobridge/job/1", "kind": KIND, "inputs": {"particles": str(path)}, "options": {"D": SMALL}}
        return parse_job({**spec, "output": str(project / "out")}, "test").memory(SMALL, "cpu").host_bytes

    none = reckoned(project / "absent.star")
    assert reckoned(project / "stacks/a.mrcs") == none
    size = (project / name).stat().st_size
    assert reckoned(project / name) - none >= 12 * size
    (project / f"{name}.gz").write_bytes(gzip.compress((project / name).read_bytes(), mtime=0))
    assert reckoned(project / f"{name}.gz") - none > 25 * (project / f"{name}.gz").stat().st_size


def pixels(path: Path) -> np.ndarray:
    with mrcfile.open(path) as found:
        return np.asarray(found.data).copy()


@pytest.mark.parametrize("name", ["31.star", "30.star", "a.cs"])
def test_a_table_goes_with_its_images_and_keeps_all_else(project: Path, name: str) -> None:
    result = run(project, name)
    assert np.allclose(pixels(project / "out/particles.mrcs"), SMALLER, atol=1e-3)
    table = project / "out" / f"particles.{name.partition('.')[2]}"
    before, after = read_particles(project / name), read_particles(table)
    assert after.box == SMALL
    assert np.allclose(after.pixel_size_A, 2 * before.pixel_size_A, rtol=1e-6)
    assert np.abs(np.asarray(after.shifts_A) - np.asarray(before.shifts_A)).max() < 1e-5
    assert np.array_equal(after.rotations, before.rotations)  # type: ignore[arg-type]
    assert after.ctf is not None
    assert np.array_equal(after.ctf.defocus_u_A, TRUTH.defocus[:, 0].astype(np.float32)) or name != "a.cs"
    assert np.allclose(read_images(after, np.arange(COUNT)), SMALLER, atol=1e-3)
    assert result["metrics"]["stacks"] == 1


def test_every_column_and_optics_group_of_a_star_file_is_kept(project: Path) -> None:
    run(project, "31.star")
    before, after = starfile.read(project / "31.star"), starfile.read(project / "out/particles.star")
    assert list(after["particles"]) == list(before["particles"])
    assert list(after["optics"]) == list(before["optics"])
    assert after["optics"]["rlnImageSize"].tolist() == [SMALL, SMALL]
    assert np.allclose(after["optics"]["rlnImagePixelSize"], 2 * before["optics"]["rlnImagePixelSize"])
    kept = [label for label in before["particles"] if label != "rlnImageName"]
    assert after["particles"][kept].equals(before["particles"][kept])
    assert after["particles"]["rlnGroupName"].unique().tolist() == ["my group"]


def test_every_column_and_id_of_a_cs_is_kept(project: Path) -> None:
    run(project, "a.cs")
    before, after = read_table(project / "a.cs"), read_table(project / "out/particles.cs")
    assert list(after) == list(before)
    for name in set(before) - {"blob/path", "blob/idx", "blob/shape", "blob/psize_A"}:
        assert np.array_equal(after[name], before[name]), name
    assert after["blob/shape"].tolist() == [[SMALL, SMALL]] * COUNT


@pytest.mark.parametrize("missing", ["blob/psize_A", "blob/shape"])
def test_a_cs_that_does_not_say_pixel_size_or_box_gets_them(project: Path, missing: str) -> None:
    columns = read_table(project / "a.cs")
    write_table(project / "less.cs", {name: values for name, values in columns.items() if name != missing})
    run(project, "less.cs", Apix=1.5)
    found = read_particles(project / "out/particles.cs")
    assert found.box == SMALL
    wanted_A = np.full(COUNT, 1.5) if missing == "blob/psize_A" else TRUTH.size_A
    assert np.allclose(found.pixel_size_A, 2 * wanted_A, rtol=1e-6)
    assert read_table(project / "out/particles.cs")["blob/shape"].tolist() == [[SMALL, SMALL]] * COUNT


def test_a_list_keeps_its_layout_and_a_chunked_stack_gets_one(project: Path) -> None:
    run(project, "all.txt")
    assert (project / "out/particles.txt").read_text().split() == ["particles.0.mrcs", "particles.1.mrcs"]
    assert np.allclose(pixels(project / "out/particles.1.mrcs"), SMALLER[HALF:], atol=1e-3)
    result, _ = run_map_job(
        KIND, project / "chunked", {"particles": project / "stacks/a.mrcs"}, {"D": SMALL, "chunk": 4, "b": 3}
    )
    found = read_particles(project / "chunked/particles.txt")
    assert np.allclose(read_images(found, np.arange(HALF)), SMALLER[:HALF], atol=1e-3)
    assert result["metrics"]["stacks"] == 2
    assert found.pixel_size_A.tolist() == pytest.approx([2 * SIZE_A] * HALF)


def test_a_selection_and_values_as_means_in_half_precision(project: Path) -> None:
    chosen = np.array([7, 2, 9])
    (project / "ind.pkl").write_bytes(pickled(chosen))
    run(project, "31.star", selection=project / "ind.pkl", scale="mean", half_precision=True)
    with mrcfile.open(project / "out/particles.mrcs") as found:
        assert int(found.header.mode) == 12
        assert np.allclose(found.data, SMALLER[chosen] / 4, atol=0.05)
    assert len(starfile.read(project / "out/particles.star")["particles"]) == 3
    assert abs(pixels(project / "out/particles.mrcs").mean() - IMAGES[chosen].mean()) < 0.02


def test_a_volume_gets_its_other_hand_and_contrast_and_a_pixel_size(project: Path) -> None:
    """At its own box nothing else changes."""
    volume = torch.from_numpy(np.random.default_rng(1).normal(size=(BOX,) * 3).astype(np.float32))
    write_maps(project, SIZE_A, whole=volume)
    run(project, "whole.mrc", is_vol=True, D=BOX, flip=True, invert=True, Apix=1.7)
    with mrcfile.open(project / "out/volume.mrc") as found:
        assert np.allclose(found.data, -np.roll(volume.numpy()[::-1], 1, axis=0), atol=1e-4)
        assert float(found.voxel_size.x) == pytest.approx(1.7)


def test_a_volume_is_cropped_like_its_images(project: Path) -> None:
    volume = torch.from_numpy(np.random.default_rng(1).normal(size=(BOX,) * 3).astype(np.float32))
    write_maps(project, SIZE_A, whole=volume)
    result = run(project, "whole.mrc", is_vol=True)
    with mrcfile.open(project / "out/volume.mrc") as found:
        assert np.allclose(found.data, downsampled_volume(volume, SMALL).numpy(), atol=1e-4)
        assert found.voxel_size.x == pytest.approx(2 * SIZE_A)
    assert result["metrics"] == {"box": SMALL, "pixel_size_A": 2 * SIZE_A}


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    peaks = []
    for number, count in enumerate((1200, 3000)):
        write_stack(tmp_path / f"{number}.mrcs", numbered_images(count, 32))
        tracemalloc.start()
        run_map_job(KIND, tmp_path / f"out{number}", {"particles": tmp_path / f"{number}.mrcs"}, {"D": 8, "b": 64})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The second stack is larger by 7 MB; what is known of an image takes less than 400 bytes.
    assert peaks[1] < peaks[0] + 1800 * 400


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "a larger box": ("31.star", {"D": 18}, r"have 16 pixels along a side, fewer than the 'box' of 18"),
    "a volume among images": ("cube.mrc", {}, r"is a volume"),
    "no cube": ("stacks/a.mrcs", {"is_vol": True}, r"has 16 x 16 x 6 voxels"),
    "images of another hand": ("31.star", {"flip": True}, r"'flip' and 'invert' are for volumes"),
    "a volume in chunks": ("cube.mrc", {"is_vol": True, "chunk": 2}, r"is a volume, which has no"),
    "odd images": ("odd.mrcs", {}, r"15 x 15 pixels, an odd number"),
    "a cut stack": ("cut.mrcs", {}, r"its header announces"),
    "NaN": ("nan.mrcs", {}, r"image 2 holds NaN"),
    "too large for float16": ("large.mrcs", {"half_precision": True}, r"turn 'half_precision' off"),
    "no such stack": ("lost.star", {}, r"names the stack"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_no_result(project: Path, name: str) -> None:
    write_stack(project / "cube.mrc", np.zeros((BOX,) * 3))
    write_stack(project / "odd.mrcs", numbered_images(2, 15))
    broken = IMAGES[:3].copy()
    broken[1, 2, 3] = np.nan
    write_stack(project / "nan.mrcs", broken)
    write_stack(project / "large.mrcs", IMAGES * 1e5)
    cut = write_stack(project / "cut.mrcs", IMAGES)
    cut.write_bytes(cut.read_bytes()[:-5])
    (project / "lost.star").write_text(star31(TRUTH, [f"{row}@lost.mrcs" for row in range(1, COUNT + 1)]))
    path, options, said = BAD[name]
    with pytest.raises(InputInvalid, match=said) as error:
        run(project, path, **options)
    assert "\n" not in str(error.value)
    assert not list((project / "out").glob("particles*")) if (project / "out").exists() else True


@pytest.mark.parametrize("box", [7, 0, -2])
def test_an_odd_box_is_refused_before_anything_is_read(project: Path, box: int) -> None:
    with pytest.raises(InputInvalid, match=r"'options.D': Input should be"):
        run(project, "31.star", D=box)
