"""Rows are lines: as RELION reads them, whatever their words; never is a value dealt into another row."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.star_rows import Table, TakeRow, read_tables

HEAD = "\n# version 30001\n\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n1\n\ndata_particles\n\nloop_\n_a #1\n_b #2\n"


class Kept:
    """A table and all its rows, as text."""

    def __init__(self, table: Table) -> None:
        self.block, self.names = table.block, table.names
        self.rows: list[list[str]] = []

    def take(self, _: int, values: Sequence[bytes]) -> None:
        self.rows.append([value.decode() for value in values])

    def column(self, name: str) -> list[str]:
        return [row[self.names.index(name)] for row in self.rows]


def tables(text: str, name: str) -> list[Kept]:
    found: list[Kept] = []

    def begin(table: Table) -> TakeRow:
        found.append(Kept(table))
        return found[-1].take

    read_tables(text.encode().splitlines(), name, begin)
    return found


def rows(text: str) -> list[list[str]]:
    return [list(row) for row in tables(text, "p.star")[-1].rows]


@pytest.mark.parametrize(
    "word", ["data_1.mrc", "_a.mrc", "#12.mrc", "loop_x", "save_", "stop_", "$a", "[b", "global_", ";c"]
)
@pytest.mark.parametrize("last", ["", "\n", "\n\n", "\r\n"])
def test_no_word_is_reserved_within_a_row(word: str, last: str) -> None:
    assert rows(f"{HEAD}{word} 1\n2 {word}{last}") == [[word, "1"], ["2", word]]


@given(st.lists(st.tuples(*[st.from_regex(r"[^\s'\"]{1,8}", fullmatch=True)] * 2), min_size=1, max_size=5))
def test_any_words_come_back_in_their_rows(words: list[tuple[str, str]]) -> None:
    # A comment is what begins with the sign alone.
    kept = [pair for pair in words if pair[0] != "#" and not pair[1].startswith("#")] or [("a", "b")]
    text = HEAD + "".join(f"{one}\t {two} \n" for one, two in kept)
    assert rows(text) == [list(pair) for pair in kept]


def test_quotes_comments_and_further_tables() -> None:
    text = (
        HEAD + "'a b' 1\n\"c\" 2 # remark\nO'B 3\n\n# version 30001\n\ndata_more\n\n_item 5\n\nloop_\n_c\n2\ndata_1\n"
    )
    found = tables(text, "p.star")
    assert [table.block for table in found] == ["optics", "particles", "more"]
    assert [list(row) for row in found[1].rows] == [["a b", "1"], ["c", "2"], ["O'B", "3"]]
    assert found[2].column("c") == ["2", "data_1"]
    assert found[1].column("b") == ["1", "2", "3"]


def test_a_blank_line_ends_a_table_but_not_the_rows_of_one_that_goes_on() -> None:
    assert rows(HEAD + "1 2\n\n3 4\n") == [["1", "2"], ["3", "4"]]
    assert len(tables(HEAD + "1 2\ndata_x\nloop_\n_c\n1\n", "p.star")) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2\n3\n4 5\n", "line 16 holds 1 values for 2 columns: '3'.*cut off or edited"),
        ("1 2\n3 4 5\n6 7\n", "line 16 holds 3 values for 2 columns"),
        ("1 2\n3", "line 16 holds 1 values for 2 columns.*copy it again"),
    ],
)
def test_a_row_of_another_length_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(InputInvalid, match=rf"^p\.star: is not a whole STAR file \({words}"):
        tables(HEAD + text, "p.star")
