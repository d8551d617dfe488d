"""Cells are changed and columns added; every other byte of a STAR file stays."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.tomograms.table_text import TableText, cell_text, parse_table_text

OTHER = "# of another program\ndata_other\n\nloop_\n_foreignA #1\n_foreignB #2\n'a b' 2 # a comment\n\n"
WORDS = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=12
).filter(lambda text: not ('"' in text and "'" in text))


def rank(labels: Collection[str]) -> int:
    return int("wanted" in labels)


def parsed(text: str | bytes) -> TableText:
    raw = text.encode() if isinstance(text, str) else text
    return parse_table_text(raw, "t.star", rank, "a table of tests")


def changed(text: str, values: Mapping[int, Mapping[str, str]]) -> str:
    return parsed(text).with_cells(values).decode()


def table(rows: list[list[str]], end: str = "\n") -> str:
    lines = ["data_", "", "loop_ ", "_wanted #1 ", "_unknownLabel #2 ", *("  ".join(row) + "   " for row in rows), ""]
    return OTHER + end.join(lines) + end + "data_last\n_item 1 # kept\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_is_not_named_stays_byte_for_byte(end: str) -> None:
    text = table([["a.mrc", "None"], ['"b c.mrc"', "7.50"]], end)
    assert changed(text, {}) == text
    assert changed(text, {1: {"unknownLabel": "8"}}) == text.replace("7.50", "8")
    added = changed(text, {1: {"new": "x y"}})
    wanted = text.replace(f"_unknownLabel #2 {end}", f"_unknownLabel #2 {end}_new #3{end}")
    assert added == wanted.replace("None   ", "None None   ").replace("7.50   ", '7.50 "x y"   ')


def test_a_comment_after_a_row_stays_after_what_is_added() -> None:
    text = table([["a.mrc", "1 # mine"]])
    assert "a.mrc  1 2 # mine" in changed(text, {0: {"new": "2"}})


def test_tabs_are_kept_as_what_parts_values() -> None:
    assert "a\t1\t5\n" in changed(OTHER + "data_\nloop_\n_wanted\n_b\na\t1\n", {0: {"c": "5"}})


def test_a_last_line_without_its_end_gets_its_columns() -> None:
    assert changed("data_\nloop_\n_wanted #1\na", {0: {"c": "5"}}).endswith("_wanted #1\n_c #2\na 5")


def test_single_items_are_a_table_of_one_row() -> None:
    text = f"{OTHER}data_x\n\n_wanted   'a b'  # kept\n_second 2\n\ndata_y\n_wantedNot 1\n"
    found = parsed(text)
    assert (found.labels, found.row(0)) == (("wanted", "second"), {"wanted": "a b", "second": "2"})
    new = found.with_cells({0: {"wanted": "c", "third": "d e"}}).decode()
    assert new == text.replace("_wanted   'a b'", "_wanted   c").replace("_second 2\n", '_second 2\n_third "d e"\n')


@settings(max_examples=80)
@given(
    st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4),
    st.dictionaries(st.integers(0, 3), st.dictionaries(st.sampled_from(["wanted", "new", "other"]), WORDS), max_size=3),
)
def test_any_texts_come_back_and_nothing_else_changes(
    rows: list[tuple[str, str]], values: dict[int, dict[str, str]]
) -> None:
    written = table([[cell_text(one), cell_text(two)] for one, two in rows])
    found = parsed(written)
    assert [list(found.row(number).values()) for number in range(len(rows))] == [list(row) for row in rows]
    values = {row: cells for row, cells in values.items() if row < len(rows)}
    new = found.with_cells(values)
    assert new.startswith(OTHER.encode())
    assert new.endswith(b"data_last\n_item 1 # kept\n")
    again = parsed(new)
    added = {label for cells in values.values() for label in cells} - set(found.labels)
    for number, (one, two) in enumerate(rows):
        wanted = {"wanted": one, "unknownLabel": two, **dict.fromkeys(added, "None"), **values.get(number, {})}
        assert again.row(number) == wanted


@settings(max_examples=150)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_table_or_one_sentence(tail: bytes) -> None:
    whole = b"data_\nloop_\n_wanted #1\n_b #2\n" + tail
    with contextlib.suppress(InputInvalid):
        assert parsed(whole).with_cells({}) == whole


def test_old_encodings_of_paths_survive() -> None:
    raw = b"data_\nloop_\n_wanted #1\n_b #2\nM\xfcnchen.mrc 1\n"
    new = parsed(raw).with_cells({0: {"b": "2", "c": parsed(raw).row(0)["wanted"]}})
    assert new.endswith(b"M\xfcnchen.mrc 2 M\xfcnchen.mrc\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("data_\n\0", "zero bytes"),
        ("data_\nloop_\n_other #1\n1\n", "holds no table of tests"),
        ("{}", "is a JSON file"),
        ("data_\nloop_\n_wanted #1\n", "has no rows"),
        ("data_\nloop_\n_wanted #1\n_wanted #2\n1 2\n", "twice"),
        ("data_\nloop_\n_wanted #1\n1\n\ndata_b\nloop_\n_wanted #1\n1\n", "2 tables"),
        ("data_\nloop_\n_wanted #1\n_b #2\n1\n", "line 5 holds 1 values"),
    ],
)
def test_what_is_no_such_table_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(InputInvalid, match=said):
        parsed(text)


@pytest.mark.parametrize("text", ["a\nb", "\"a' b\" 'c"])
def test_what_fits_no_line_is_refused(text: str) -> None:
    with pytest.raises(InputInvalid, match="one line"):
        cell_text(text)
