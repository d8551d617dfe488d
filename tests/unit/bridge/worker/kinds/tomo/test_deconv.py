"""`tomo.deconv` filters as documented, keeps grey scale and place, and loses nothing when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import torch
from support.map_jobs import run_map_job
from support.tomogram_tables import PIXEL_A, SHAPE, grains, tomograms, write_table, write_tomogram

from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.core.tomogram import DeconvolutionFilter, deconvolved
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.table import read_tomogram_table


def deconvolve(star: Path, out: Path, **options: Any) -> tuple[dict[str, Any], list[str]]:
    return run_map_job("tomo.deconv", out, {"star": star}, options)


def by_core(volume: np.ndarray, **parameters: float) -> np.ndarray:
    used = DeconvolutionFilter(**{"pixel_size_A": PIXEL_A, "defocus_A": 38000.0, **parameters})  # type: ignore[arg-type]
    return deconvolved(torch.from_numpy(volume), used).numpy()


@pytest.mark.parametrize(("options", "off"), [({}, 1e-4), ({"chunk_size": 16, "overlap_rate": 4}, 0.3)])
def test_the_result_is_the_filtered_tomogram_where_it_lay(tmp_path: Path, options: dict[str, Any], off: float) -> None:
    star = tomograms(tmp_path)
    deconvolve(star, tmp_path / "out", **options)
    found, header = mrc.read(tmp_path / "out" / "tomo1_deconv.mrc")
    np.testing.assert_allclose(found, by_core(grains(1)), atol=off)
    before = mrc.read_header(tmp_path / "tomo1.mrc")
    assert (header.position, header.voxel_size_A) == (before.position, before.voxel_size_A)
    assert found.mean(dtype=float) == pytest.approx(grains(1).mean(dtype=float), abs=1e-4)
    assert found.std(dtype=float) == pytest.approx(grains(1).std(dtype=float), rel=1e-5)


@pytest.mark.parametrize(
    ("columns", "options", "used"),
    [
        ({}, {}, (1.0, 1.0)),
        ({"rlnSnrFalloff": 0.7, "rlnDeconvStrength": 0.5}, {}, (0.7, 0.5)),
        ({"rlnSnrFalloff": 0.7, "rlnDeconvStrength": "None"}, {"deconvstrength": 2}, (0.7, 2.0)),
        ({"rlnSnrFalloff": 0.7}, {"snrfalloff": 0, "hipassnyquest": 0.1}, (0.0, 1.0)),
    ],
)
def test_the_command_goes_before_the_table_and_the_table_before_the_default(
    tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], used: tuple[float, float]
) -> None:
    star = tomograms(tmp_path, **columns)
    deconvolve(star, tmp_path / "out", **options)
    wanted = by_core(
        grains(1), snr_falloff=used[0], strength=used[1], highpass_nyquist=options.get("hipassnyquest", 0.02)
    )
    np.testing.assert_allclose(mrc.read(tmp_path / "out" / "tomo1_deconv.mrc")[0], wanted, atol=1e-4)
    for path in (star, tmp_path / "out" / "tomograms.star"):
        (row,) = read_tomogram_table(path).tomograms
        assert row.deconv == tmp_path / "out" / "tomo1_deconv.mrc"
        assert (row.number("rlnSnrFalloff"), row.number("rlnDeconvStrength")) == used
        assert row.full == tmp_path / "tomo1.mrc"
        assert path.read_text().startswith("# made by hand")


def test_the_users_table_stays_as_it_is_if_that_is_wanted(tmp_path: Path) -> None:
    star = tomograms(tmp_path)
    before = star.read_bytes()
    deconvolve(star, tmp_path / "out", update_star=False)
    assert star.read_bytes() == before


def test_only_chosen_tomograms_with_a_defocus_are_done(tmp_path: Path) -> None:
    star = tomograms(tmp_path, 3)
    star.write_text(star.read_text().replace("2 tomo2.mrc 10.0 38000.0", "2 tomo2.mrc 10.0 0.0"))
    result, said = deconvolve(star, tmp_path / "out", tomo_idx=[1, 2], ncpu=4)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mrc")) == ["tomo1_deconv.mrc"]
    assert any("tomo2: has no defocus" in line for line in said)
    assert any("'ncpu' has no effect" in line for line in result["statements"])
    assert [row.deconv is None for row in read_tomogram_table(star).tomograms] == [False, True, True]


def test_two_halves_are_averaged(tmp_path: Path) -> None:
    one, two = write_tomogram(tmp_path / "a_EVN.mrc", grains(1)), write_tomogram(tmp_path / "a_ODD.mrc", grains(2))
    halves = {"rlnTomoReconstructedTomogramHalf1": one.name, "rlnTomoReconstructedTomogramHalf2": two.name}
    star = write_table(tmp_path, [{"rlnIndex": 1, **halves, "rlnDefocus": 38000}])
    deconvolve(star, tmp_path / "out")
    (made,) = (tmp_path / "out").glob("*_deconv.mrc")
    np.testing.assert_allclose(mrc.read(made)[0], by_core((grains(1) + grains(2)) / 2), atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "output_type", "mode"),
    [("f2", "input", 12), ("i1", "input", 0), ("i2", "input", 2), ("f4", "float16", 12), ("f2", "float32", 2)],
)
def test_volumes_are_stored_as_is_asked_for(tmp_path: Path, dtype: str, output_type: str, mode: int) -> None:
    stored = np.rint(grains(1)).astype(dtype)
    write_tomogram(tmp_path / "tomo1.mrc", stored)
    row = {"rlnIndex": 1, "rlnMicrographName": "tomo1.mrc", "rlnPixelSize": 10, "rlnDefocus": 38000}
    deconvolve(write_table(tmp_path, [row]), tmp_path / "out", output_type=output_type)
    with mrcfile.open(tmp_path / "out" / "tomo1_deconv.mrc") as made:
        assert int(made.header.mode) == mode
        wanted = by_core(stored.astype(np.float32))
        np.testing.assert_allclose(made.data.astype(float), wanted, atol=0.51 if mode == 0 else 0.02)


def test_a_list_goes_on_where_it_failed(tmp_path: Path) -> None:
    """One of three holds NaN: the others are made, it is named, and the same job then does it alone."""
    star = tomograms(tmp_path, 3)
    whole = (tmp_path / "tomo2.mrc").read_bytes()
    spoiled = grains(2)
    spoiled[3, 4, 5] = np.nan
    write_tomogram(tmp_path / "tomo2.mrc", spoiled)
    out = tmp_path / "out"
    with pytest.raises(InputInvalid, match=r"1 of 3 tomograms failed .rlnIndex 2., tomo2 because: .*NaN.*2 others"):
        deconvolve(star, out)
    assert sorted(path.name for path in out.glob("*.mrc")) == ["tomo1_deconv.mrc", "tomo3_deconv.mrc"]
    assert [row.deconv is None for row in read_tomogram_table(star).tomograms] == [False, True, False]
    made_before = (out / "tomo1_deconv.mrc").stat().st_mtime_ns
    (tmp_path / "tomo2.mrc").write_bytes(whole)
    result, said = deconvolve(star, out)
    assert [line for line in said if "earlier attempt" in line] == [
        "tomo1: made in an earlier attempt",
        "tomo3: made in an earlier attempt",
    ]
    assert (out / "tomo1_deconv.mrc").stat().st_mtime_ns == made_before
    assert set(result["outputs"]) == {*(f"tomo{n}_deconv.mrc" for n in (1, 2, 3)), "tomograms.star", "report.html"}
    assert not list(out.glob(".made*"))


def test_what_was_made_from_another_file_is_made_again(tmp_path: Path) -> None:
    star = tomograms(tmp_path, 2)
    write_tomogram(tmp_path / "tomo2.mrc", np.full(SHAPE, 2.0, np.float32))
    with pytest.raises(InputInvalid, match="all voxels have the value 2"):
        deconvolve(star, tmp_path / "out")
    write_tomogram(tmp_path / "tomo1.mrc", grains(5))
    write_tomogram(tmp_path / "tomo2.mrc", grains(2))
    deconvolve(star, tmp_path / "out")
    np.testing.assert_allclose(mrc.read(tmp_path / "out" / "tomo1_deconv.mrc")[0], by_core(grains(5)), atol=1e-4)


def other_stamp(folder: Path) -> None:
    raw = bytearray((folder / "tomo1.mrc").read_bytes())
    raw[208:212] = b"abcd"
    (folder / "tomo1.mrc").write_bytes(raw)


def untold_size(folder: Path) -> None:
    write_tomogram(folder / "tomo1.mrc", grains(1), 0.0)
    write_table(folder, [{"rlnIndex": 1, "rlnMicrographName": "tomo1.mrc", "rlnDefocus": 38000}])


def in_row(folder: Path, old: str, new: str) -> None:
    star = folder / "tomograms.star"
    star.write_text(star.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("spoil", "options", "sentence"),
    [
        (lambda folder: (folder / "tomo3.mrc").unlink(), {}, "row 3: .*tomo3.mrc: cannot be opened"),
        (other_stamp, {}, "row 1: .*the word MAP is missing"),
        (untold_size, {}, "row 1: neither 'rlnPixelSize' nor the header of .*tomo1.mrc tells the voxel size"),
        (lambda folder: in_row(folder, "38000.0", "3.8"), {}, "row 1: a defocus of 3.8 .*in Angstrom"),
        (lambda folder: in_row(folder, "38000.0", "-38000"), {}, "underfocus positive"),
        (lambda folder: in_row(folder, "38000.0", "0"), {}, "has no defocus for any"),
        (lambda folder: None, {"tomo_idx": "7"}, "7"),
        (lambda folder: in_row(folder, "1 tomo1.mrc", "1 None"), {}, "row 1 names no tomogram"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_nothing_is_written(
    tmp_path: Path, spoil: Callable[[Path], object], options: dict[str, Any], sentence: str
) -> None:
    star = tomograms(tmp_path, 3)
    spoil(tmp_path)
    before = star.read_bytes()
    with pytest.raises(InputInvalid, match=sentence):
        deconvolve(star, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    assert star.read_bytes() == before


def test_what_float16_cannot_hold_is_one_sentence(tmp_path: Path) -> None:
    star = tomograms(tmp_path)
    write_tomogram(tmp_path / "tomo1.mrc", 1e4 * grains(1))
    with pytest.raises(InputInvalid, match="do not fit into float16"):
        deconvolve(star, tmp_path / "out", output_type="float16")
    assert not list((tmp_path / "out").glob("*.mrc"))


def test_a_size_of_1_in_the_header_is_not_believed(tmp_path: Path) -> None:
    star = tomograms(tmp_path)
    write_tomogram(tmp_path / "tomo1.mrc", grains(1), 1.0)
    deconvolve(star, tmp_path / "out")
    assert mrc.read_header(tmp_path / "out" / "tomo1_deconv.mrc").voxel_size_A == pytest.approx((10.0,) * 3)


def test_a_result_never_replaces_its_tomogram(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_tomogram(tmp_path / "out" / "a_deconv.mrc", grains(1))
    (tmp_path / "a.mrc").symlink_to(tmp_path / "out" / "a_deconv.mrc")
    row = {"rlnIndex": 1, "rlnMicrographName": "a.mrc", "rlnPixelSize": 10, "rlnDefocus": 38000}
    spec = {
        "schema": "cryobridge/job/1",
        "kind": "tomo.deconv",
        "inputs": {"star": str(write_table(tmp_path, [row]))},
        "deconv_folder": str(tmp_path / "out"),
        "run": {"overwrite": True},
    }
    with pytest.raises(InputInvalid, match="would be replaced"):
        list(run_job(spec, torch.device("cpu")))
