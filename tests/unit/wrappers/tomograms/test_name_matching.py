"""Files that belong together are found by their names, and none that only looks alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.name_matching import files_in, halves_of, matching_file, series_name


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("TS_01_EVN.mrc", "TS_01"),
        ("TS_01_odd_Vol.mrc", "TS_01_Vol"),
        ("rec_TS_01_half1.mrc", "rec_TS_01"),
        ("TS_01-half-2.rec", "TS_01"),
        ("uneven.mrc", "uneven"),
        ("odd_1.mrc", "_1"),
        ("even.mrc", "even"),
    ],
)
def test_the_name_of_a_series_is_without_its_half(name: str, series: str) -> None:
    assert series_name(Path(name)) == series


@pytest.mark.parametrize(
    ("tomogram", "fits"),
    [
        ("TS_1.mrc", "TS_1.tlt"),
        ("TS_10.mrc", None),
        ("rec_TS_1_half1.mrc", "TS_1.tlt"),
        ("TS_1_10.00Apx.mrc", "TS_1.tlt"),
        ("TS_1_b.mrc", "TS_1_b.mrc.mdoc"),
        ("other.mrc", None),
        ("a+(.mrc", "a+(.tlt"),
    ],
)
def test_the_longest_common_name_wins(tomogram: str, fits: str | None) -> None:
    candidates = [Path(name) for name in ("TS_1.tlt", "TS_1_b.mrc.mdoc", "TS_100.tlt", "a+(.tlt")]
    assert matching_file(Path(tomogram), candidates) == (None if fits is None else Path(fits))


def test_halves_without_a_partner_or_with_two_are_refused() -> None:
    even, odd = [Path("e/a_EVN.mrc")], [Path("o/a_ODD.mrc")]
    assert halves_of(even, odd) == [(even[0], odd[0])]
    for some_even, some_odd, said in (
        (even, [*odd, Path("o/b.mrc")], "b.mrc: has no even half"),
        ([*even, Path("e/b.mrc")], odd, "b.mrc: has no odd half"),
        (even, [*odd, Path("o/a.mrc")], "has 2 odd halves"),
        ([*even, Path("e/a.mrc")], odd, "two tomograms with one odd half"),
    ):
        with pytest.raises(InputInvalid, match=said):
            halves_of(some_even, some_odd)


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "folder.mrc").mkdir()
    for name in ("b.MRC", "a.rec", ".c.mrc", "d.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in files_in(tmp_path, (".mrc", ".rec"))] == ["a.rec", "b.MRC"]
    assert [path.name for path in files_in(tmp_path, (), "*.txt")] == ["d.txt"]
    with pytest.raises(InputInvalid, match="cannot be read"):
        files_in(tmp_path / "none", ())
