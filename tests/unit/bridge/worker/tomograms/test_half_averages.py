"""`create_average` of `tomo.prepare_star`: means of halves as whole tomograms, stored as the halves are."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from support.map_jobs import run_map_job
from support.tomogram_files import write_tomogram

from cryobridge.bridge.worker.tomograms import half_averages
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.table import Tomogram, read_tomogram_table

KIND = "tomo.prepare_star"
SHAPE = (9, 12, 10)


def written(folder: Path, name: str, dtype: str, seed: int) -> np.ndarray:
    """A half of some type that lies somewhere."""
    folder.mkdir(exist_ok=True)
    values = np.random.default_rng(seed).normal(3, 20, SHAPE).astype(dtype)
    with mrcfile.new(folder / name, overwrite=True) as file:
        file.set_data(values)
        file.voxel_size = 7.5
        file.header.origin = (11.0, 12.0, 13.0)
    return values


def run(tmp_path: Path, **inputs: Path) -> tuple[list[Tomogram], dict[str, object]]:
    halves = {"folder": tmp_path / "even", "odd": tmp_path / "odd"}
    result, _ = run_map_job(KIND, tmp_path / "out", {**halves, **inputs}, {"create_average": True})
    return list(read_tomogram_table(tmp_path / "out" / "tomograms.star").tomograms), result


@pytest.mark.parametrize(("dtype", "stored"), [("float32", "float32"), ("float16", "float16"), ("int16", "float32")])
def test_the_mean_of_halves_is_the_whole_tomogram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, stored: str
) -> None:
    monkeypatch.setattr(half_averages, "_AT_A_TIME", 250)  # Two sections at a time, and one in the end.
    halves = [
        written(tmp_path / name, f"TS_1_{ending}.mrc", dtype, seed)
        for seed, (name, ending) in enumerate((("even", "EVN"), ("odd", "ODD")))
    ]
    (row,), result = run(tmp_path)
    assert row.full == tmp_path / "out" / "TS_1.mrc"
    assert (row.half1, row.half2) == (tmp_path / "even" / "TS_1_EVN.mrc", tmp_path / "odd" / "TS_1_ODD.mrc")
    assert row.name == "TS_1"
    mean = (halves[0].astype(np.float64) + halves[1]) / 2
    with mrcfile.open(row.full) as file:
        assert file.data.dtype == stored
        np.testing.assert_allclose(file.data, mean, atol=0.03 if stored == "float16" else 1e-4)
        assert float(file.header.dmean) == pytest.approx(file.data.astype(np.float64).mean(), abs=1e-3)
        assert file.voxel_size.x == pytest.approx(7.5)
    position = [mrc.read_header(path).position for path in (row.full, tmp_path / "even" / "TS_1_EVN.mrc")]
    assert position[0] == position[1]
    assert set(result["outputs"]) == {"TS_1.mrc", "tomograms.star", "report.html"}
    assert result["metrics"]["averaged"] == 1


def test_whole_tomograms_that_there_are_stay(tmp_path: Path) -> None:
    for folder in ("even", "odd", "all"):
        write_tomogram(tmp_path / folder / "a.mrc")
    (row,), result = run(tmp_path, folder=tmp_path / "all", even=tmp_path / "even")
    assert row.full == tmp_path / "all" / "a.mrc"
    assert result["metrics"]["averaged"] == 0
    assert not (tmp_path / "out" / "a.mrc").exists()


def test_without_halves_there_is_nothing_to_average(tmp_path: Path) -> None:
    write_tomogram(tmp_path / "all" / "a.mrc")
    with pytest.raises(InputInvalid, match="'create_average' has no halves to average; give the folder of the"):
        run_map_job(KIND, tmp_path / "out", {"folder": tmp_path / "all"}, {"create_average": True})
    assert not (tmp_path / "out").exists()


def test_values_that_are_no_numbers_leave_no_average(tmp_path: Path) -> None:
    for seed, folder in enumerate(("even", "odd")):
        written(tmp_path / folder, "a.mrc", "float32", seed)
    with mrcfile.open(tmp_path / "odd" / "a.mrc", "r+") as file:
        file.data[3, 4, 5] = np.nan
    with pytest.raises(InputInvalid, match=r"odd/a\.mrc"):
        run(tmp_path)
    assert not (tmp_path / "out" / "a.mrc").exists()
