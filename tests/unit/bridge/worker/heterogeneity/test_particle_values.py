"""Tables of values are read as programs write them, and damaged ones are refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.bridge.worker.heterogeneity.particle_values import values_of_file
from cryobridge.schemas.errors import InputInvalid


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,x\n2,y\n", "a,b\r\n1,x\r\n2,y", "a,b\r1,x\r2,y\r", "a,b\n1,x\n2,y\n\n\n", '"a","b"\n"1","x"\n"2","y"\n'],
)
def test_a_table_is_read_whatever_its_lines_end_with(tmp_path: Path, text: str) -> None:
    (tmp_path / "values.csv").write_bytes(text.encode())
    found = values_of_file(tmp_path / "values.csv", 2)
    assert {name: column.tolist() for name, column in found.items()} == {"a": [1.0, 2.0]}


@pytest.mark.parametrize("text", ["", "a,b\n", "a,b\n1\n", "a\n1\n\n2\n", 'a,b\n1,"' + "2,3\n" * 40_000])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    """An empty line between others might be a particle's."""
    (tmp_path / "values.csv").write_text(text)
    with pytest.raises(InputInvalid, match=r"values\.csv: is no table"):
        values_of_file(tmp_path / "values.csv", 2)
