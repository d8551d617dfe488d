"""Every job on a table of tomograms with every kind of bad file: one sentence that names it, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from support.isonet_models import MadeUpModel
from support.map_jobs import run_map_job
from support.tomogram_tables import PIXEL_A, grains, write_table, write_tomogram

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.table import read_tomogram_table

pytestmark = [pytest.mark.acceptance]

KINDS: dict[str, dict[str, Any]] = {
    "tomo.deconv": {},
    "tomo.make_mask": {},
    "tomo.extract": {"cube_size": 8, "crop_size": 8, "number_subtomos": 2},
    "tomo.resize": {"apix": 12},
    "tomo.predict": {"cube_size": 16, "crop_size": 24},
}
"""Options for tomograms as small as these."""
TOMOGRAM, TABLE = "bad.mrc", "tomograms.star"


def columns(**others: object) -> dict[str, object]:
    return {"rlnIndex": 1, "rlnMicrographName": TOMOGRAM, "rlnPixelSize": PIXEL_A, "rlnDefocus": 38000.0, **others}


def spoiled(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    write_tomogram(folder / TOMOGRAM, change(grains(1)))


def with_sections_of(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(volume: np.ndarray) -> np.ndarray:
        volume[::4] = value
        return volume

    return change


def nan(folder: Path) -> None:
    spoiled(folder, with_sections_of(np.nan))


def infinite(folder: Path) -> None:
    spoiled(folder, with_sections_of(np.inf))


def beyond_float16(folder: Path) -> None:
    """Written by a program that did not look: what does not fit is infinite."""
    with mrcfile.new(folder / TOMOGRAM, overwrite=True) as file, np.errstate(over="ignore"):
        file.set_data((1e5 * grains(1)).astype(np.float16))


def one_value(folder: Path) -> None:
    spoiled(folder, np.ones_like)


def one_section(folder: Path) -> None:
    spoiled(folder, lambda volume: volume[:1])


def changed_bytes(folder: Path, at: int, new: bytes) -> None:
    raw = bytearray((folder / TOMOGRAM).read_bytes())
    raw[at : at + len(new)] = new
    (folder / TOMOGRAM).write_bytes(raw)


def wrong_stamp(folder: Path) -> None:
    changed_bytes(folder, 208, b"abcd")


def unknown_mode(folder: Path) -> None:
    changed_bytes(folder, 12, (77).to_bytes(4, "little"))


def cut_off(folder: Path) -> None:
    path = folder / TOMOGRAM
    path.write_bytes(path.read_bytes()[:-100])


def empty_file(folder: Path) -> None:
    (folder / TOMOGRAM).write_bytes(b"")


def text_file(folder: Path) -> None:
    (folder / TOMOGRAM).write_text("no tomogram at all\n" * 200)


def absent(folder: Path) -> None:
    (folder / TOMOGRAM).unlink()


def a_folder(folder: Path) -> None:
    (folder / TOMOGRAM).unlink()
    (folder / TOMOGRAM).mkdir()


def a_pipe(folder: Path) -> None:
    (folder / TOMOGRAM).unlink()
    os.mkfifo(folder / TOMOGRAM)


def voxel_size_untold(folder: Path) -> None:
    write_tomogram(folder / TOMOGRAM, grains(1), 0.0)
    write_table(folder, [columns(rlnPixelSize="None")])


def voxel_size_zero(folder: Path) -> None:
    write_table(folder, [columns(rlnPixelSize=0)])


def voxel_size_a_word(folder: Path) -> None:
    write_table(folder, [columns(rlnPixelSize="large")])


def voxel_size_nan(folder: Path) -> None:
    write_table(folder, [columns(rlnPixelSize="nan")])


def halves_of_two_sizes(folder: Path) -> None:
    write_tomogram(folder / "a.mrc", grains(1))
    write_tomogram(folder / "b.mrc", grains(2, (18, 28, 32)))
    halves = {"rlnTomoReconstructedTomogramHalf1": "a.mrc", "rlnTomoReconstructedTomogramHalf2": "b.mrc"}
    write_table(folder, [columns(rlnMicrographName="None", **halves)])


def nothing_named(folder: Path) -> None:
    write_table(folder, [columns(rlnMicrographName="None")])


def no_rows(folder: Path) -> None:
    write_table(folder, [])


def another_table(folder: Path) -> None:
    write_table(folder, [{"rlnImageName": "1@stack.mrcs"}])


def a_row_too_short(folder: Path) -> None:
    path = folder / TABLE
    path.write_text(path.read_text() + "2 other.mrc\n")


def bytes_for_a_table(folder: Path) -> None:
    (folder / TABLE).write_bytes(bytes(range(256)) * 8)


SPOILS = (
    nan,
    infinite,
    beyond_float16,
    one_value,
    one_section,
    wrong_stamp,
    unknown_mode,
    cut_off,
    empty_file,
    text_file,
    absent,
    a_folder,
    a_pipe,
    voxel_size_untold,
    voxel_size_zero,
    voxel_size_a_word,
    voxel_size_nan,
    halves_of_two_sizes,
    nothing_named,
    no_rows,
    another_table,
    a_row_too_short,
    bytes_for_a_table,
)
DO_WITHOUT: dict[Callable[[Path], None], set[str]] = {
    one_section: {"tomo.deconv", "tomo.predict"},
    one_value: {"tomo.extract", "tomo.resize"},
    voxel_size_zero: set(KINDS),
    voxel_size_nan: set(KINDS),
    voxel_size_untold: {"tomo.make_mask", "tomo.predict"},
}
"""Kinds that can do their work all the same; a voxel size that a table does not have is asked of the header."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return MadeUpModel(depth=1, convolutions=1, base=2).write(tmp_path / "model.h5")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_tomograms_are_one_sentence_and_nothing_is_lost(
    tmp_path: Path, model: Path, kind: str, spoil: Callable[[Path], None]
) -> None:
    write_tomogram(tmp_path / TOMOGRAM, grains(1))
    star = write_table(tmp_path, [columns()])
    spoil(tmp_path)
    before = star.read_bytes()
    inputs = {"star": star, **({"model": model} if kind == "tomo.predict" else {})}
    if kind in DO_WITHOUT.get(spoil, set()):
        run_map_job(kind, tmp_path / "out", inputs, KINDS[kind])
        return
    with pytest.raises(InputInvalid) as caught:
        run_map_job(kind, tmp_path / "out", inputs, KINDS[kind])
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    assert any(name in sentence for name in (TOMOGRAM, TABLE, "row 1", "a.mrc has"))
    assert not list((tmp_path / "out").glob("*.mrc"))
    assert star.read_bytes() == before


@pytest.mark.parametrize("kind", KINDS)
def test_words_that_nobody_knows_are_kept(tmp_path: Path, model: Path, kind: str) -> None:
    write_tomogram(tmp_path / TOMOGRAM, grains(1))
    star = write_table(tmp_path, [columns(rlnOfTheFuture="ice,_thin")])
    inputs = {"star": star, **({"model": model} if kind == "tomo.predict" else {})}
    run_map_job(kind, tmp_path / "out", inputs, KINDS[kind])
    assert read_tomogram_table(star).tomograms[0].values["rlnOfTheFuture"] == "ice,_thin"
    assert "made by hand" in star.read_text()
    for table in (tmp_path / "out").glob("tomograms*.star"):
        assert read_tomogram_table(table).tomograms[0].values["rlnOfTheFuture"] == "ice,_thin"
