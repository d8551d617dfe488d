"""`particles.parse` as the job runner does it: exact to the truth, and refused where it must be."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.map_jobs import run_map_job
from support.small_stacks import (
    BOX,
    COUNT,
    SIZE_A,
    Truth,
    cs_columns,
    numbered_images,
    star30,
    star31,
    star_table,
    write_stack,
)

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.array_file import read_arrays
from cryobridge.wrappers.formats.cs_table import write_table
from cryobridge.wrappers.particles.reading import read_particles

KIND = "particles.parse"
TRUTH = Truth()
NAMES = [f"{row + 1:06d}@a.mrcs" for row in range(COUNT)]


def table(folder: Path, sort: str) -> Path:
    path = folder / f"particles.{'cs' if sort == 'cs' else 'star'}"
    if sort == "cs":
        write_table(path, cs_columns(TRUTH, ["a.mrcs"] * COUNT, range(COUNT)))
    else:
        path.write_text({"3.0": star30, "3.1": star31}[sort](TRUTH, NAMES))
    return path


def run(tmp_path: Path, path: Path, **options: Any) -> dict[str, Any]:
    result, _ = run_map_job(KIND, tmp_path / "out", {"particles": path}, options)
    return result


@pytest.mark.parametrize("sort", ["3.0", "3.1", "cs"])
def test_the_tables_for_cryodrgn_are_the_truth_without_a_stack_at_hand(tmp_path: Path, sort: str) -> None:
    result = run(tmp_path, table(tmp_path, sort), legacy=True, **({"D": BOX} if sort == "3.0" else {}))
    with open(tmp_path / "out/pose.pkl", "rb") as file:
        rotations, shifts = pickle.load(file)
    with open(tmp_path / "out/ctf.pkl", "rb") as file:
        ctf = pickle.load(file)
    assert np.abs(rotations - TRUTH.matrices()).max() < 1e-6
    assert np.abs(shifts * BOX - TRUTH.origin_px).max() < 1e-6
    wanted = [np.full(COUNT, BOX), TRUTH.size_A, *TRUTH.defocus.T, TRUTH.astigmatism_deg, TRUTH.voltage]
    assert np.allclose(ctf[:, :6], np.stack(wanted, axis=1), rtol=3e-7, atol=1e-5)
    assert ctf.dtype == np.float32
    assert result["metrics"] == {
        "particles": COUNT,
        "box": BOX,
        "has_poses": True,
        "has_ctf": True,
        "optics_groups": 1 if sort == "3.0" else 2,
        "tilt_series": 0,
    }


def test_its_arrays_are_poses_and_ctf_of_a_bare_stack(tmp_path: Path) -> None:
    run(tmp_path, table(tmp_path, "3.1"))
    arrays = read_arrays(tmp_path / "out/particles.npz")
    assert {"rotation", "shift_A", "ctf_defocus_u_A", "pixel_size_A"} <= set(arrays)
    stack = write_stack(tmp_path / "a.mrcs", numbered_images())
    ours = tmp_path / "out/particles.npz"
    found = read_particles(stack, poses=ours, ctf=ours)
    assert np.abs(np.asarray(found.rotations) - TRUTH.matrices()).max() < 1e-9
    assert np.allclose(found.pixel_size_A, TRUTH.size_A)


def test_numbers_that_are_given_go_before_the_tables_own_and_it_is_said(tmp_path: Path) -> None:
    result = run(tmp_path, table(tmp_path, "3.1"), kv=120, cs=0.01, w=0.2, ps=30, Apix=1.25, D=32)
    arrays = read_arrays(tmp_path / "out/particles.npz")
    for name, value in (
        ("ctf_voltage_kV", 120),
        ("ctf_cs_mm", 0.01),
        ("ctf_amplitude_contrast", 0.2),
        ("ctf_phase_shift_deg", 30),
        ("pixel_size_A", 1.25),
        ("box", 32),
    ):
        assert np.unique(arrays[name]).tolist() == [value]
    assert any("voltage_kV 120" in line for line in result["statements"])


@pytest.mark.parametrize("switch", ["abinit", "hetrefine"])
def test_poses_of_classes_are_those_of_the_most_probable_one(tmp_path: Path, switch: str) -> None:
    columns = cs_columns(TRUTH, ["a.mrcs"] * COUNT, range(COUNT))
    pose, other = columns.pop("alignments3D/pose"), np.zeros((COUNT, 3), np.float32)
    first = np.arange(COUNT) % 3 == 0
    for number, is_mine in enumerate((first, ~first)):
        slot = f"alignments_class_{number}"
        columns[f"{slot}/pose"] = np.where(is_mine[:, None], pose, other)
        columns[f"{slot}/shift"] = np.where(is_mine[:, None], columns["alignments3D/shift"], 0).astype(np.float32)
        # Half as many pixels in the refinement of classes, each twice as large.
        columns[f"{slot}/shift"] /= 2
        columns[f"{slot}/psize_A"] = columns["alignments3D/psize_A"] * 2
        columns[f"{slot}/class_posterior"] = np.where(is_mine, 0.9, 0.1).astype(np.float32)
    write_table(tmp_path / "a.cs", columns)
    run(tmp_path, tmp_path / "a.cs", **{switch: True})
    arrays = read_arrays(tmp_path / "out/particles.npz")
    assert np.abs(arrays["rotation"].astype(float) - TRUTH.matrices()).max() < 1e-6
    shifts_px = arrays["shift_A"].astype(float) / arrays["pixel_size_A"].astype(float)[:, None]
    assert np.abs(shifts_px - TRUTH.origin_px).max() < 1e-5


def test_a_cs_without_images_is_parsed_where_their_box_and_pixel_size_are_given(tmp_path: Path) -> None:
    columns = cs_columns(TRUTH, ["a.mrcs"] * COUNT, range(COUNT))
    write_table(tmp_path / "a.cs", {name: values for name, values in columns.items() if not name.startswith("blob/")})
    for options, said in (({}, "give 'box'"), ({"D": BOX}, "give 'pixel_size_A'")):
        with pytest.raises(InputInvalid, match=said):
            run(tmp_path, tmp_path / "a.cs", **options)
    run(tmp_path, tmp_path / "a.cs", D=BOX, Apix=SIZE_A)
    ours = tmp_path / "out/particles.npz"
    found = read_particles(write_stack(tmp_path / "a.mrcs", numbered_images()), poses=ours)
    assert np.abs(np.asarray(found.rotations) - TRUTH.matrices()).max() < 1e-6


def test_a_table_of_ctf_alone_has_no_poses_and_one_of_neither_is_refused(tmp_path: Path) -> None:
    text = star31(TRUTH, NAMES).replace("_rlnAngle", "_rlnOther").replace("_rlnOrigin", "_rlnElse")
    (tmp_path / "a.star").write_text(text)
    result = run(tmp_path, tmp_path / "a.star", legacy=True)
    assert not result["metrics"]["has_poses"]
    assert not (tmp_path / "out/pose.pkl").exists()
    bare = star_table({"rlnImageName": NAMES, "rlnImagePixelSize": [SIZE_A] * COUNT, "rlnImageSize": [BOX] * COUNT})
    (tmp_path / "b.star").write_text(bare)
    with pytest.raises(InputInvalid, match="has neither poses nor CTF"):
        run_map_job(KIND, tmp_path / "none", {"particles": tmp_path / "b.star"})
    assert not (tmp_path / "none").exists()


def test_the_report_shows_views_defocus_and_a_ctf_with_their_tables(tmp_path: Path) -> None:
    run(tmp_path, table(tmp_path, "3.1"))
    page = (tmp_path / "out/report.html").read_text()
    for words in ("Distribution of views", "Defocus", "CTF", "data:image/png"):
        assert words in page
    counts = np.genfromtxt(tmp_path / "out/defocus.csv", delimiter=",", names=True)
    assert counts["particles"].sum() == COUNT
    curve = np.genfromtxt(tmp_path / "out/ctf.csv", delimiter=",", names=True)
    row = int(np.argsort(TRUTH.defocus.sum(axis=1))[COUNT // 2])
    kv, w = TRUTH.voltage[row], 0.1 if TRUTH.group[row] == 0 else 0.07
    wave = 12.2643247 / np.sqrt(kv * 1e3 * (1 + 0.978466e-6 * kv * 1e3))
    u, v = TRUTH.defocus[row]
    defocus = (u + v) / 2 + (u - v) / 2 * np.cos(2 * np.radians(TRUTH.astigmatism_deg[row]))
    s = curve["frequency_per_A"]
    phase = np.pi * wave * defocus * s**2 - 0.5 * np.pi * 2.7e7 * wave**3 * s**4
    assert np.allclose(curve["ctf"], np.sqrt(1 - w * w) * np.sin(phase) + w * np.cos(phase), atol=1e-4)


def test_a_folder_of_stacks_that_is_given_must_hold_them(tmp_path: Path) -> None:
    path = table(tmp_path, "3.1")
    with pytest.raises(InputInvalid, match=r"names the stack a\.mrcs"):
        run_map_job(KIND, tmp_path / "out", {"particles": path, "datadir": tmp_path})
    write_stack(tmp_path / "a.mrcs", numbered_images())
    result, _ = run_map_job(KIND, tmp_path / "out", {"particles": path, "datadir": tmp_path})
    assert result["metrics"]["box"] == BOX


def test_real_tables_of_relion_and_cryosparc_are_parsed(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/particles"
    for number, (name, count) in enumerate(
        (
            ("relion31.star", 5),
            ("relion31.v2.star", 5),
            ("relion31.6opticsgroups.star.gz", 139),
            ("relion5.star", 17),
            ("cryosparc_P12_J24_001_particles.cs.gz", 2019),
        )
    ):
        result, _ = run_map_job(KIND, tmp_path / str(number), {"particles": folder / name}, {"legacy": True})
        assert (result["metrics"]["particles"], result["metrics"]["has_poses"]) == (count, True)
    assert len(np.unique(read_arrays(tmp_path / "2/particles.npz")["optics_group"])) > 1
