"""A result as outputs of a card: columns checked before they are sent, tables read back, one result one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cryosparc_result import BOX, VOXEL_A, volume_fields, written_result
from support.fake_cryosparc import FakeCryosparc, card_of

from cryobridge.schemas.errors import BadResult, InputInvalid
from cryobridge.wrappers.cryosparc.card.outputs import Placed, publish
from cryobridge.wrappers.cryosparc.recipes import recipes

UIDS = np.array([77], np.uint64)


class Bench:
    """A result of map.fsc3d, and a server that asks for a volume's columns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.result = written_result(folder, "map.fsc3d", {"FSC3D.mrc": "fsc3d"})
        self.recipe = recipes()["map.fsc3d"]
        self.server = FakeCryosparc(fields=volume_fields("map"))
        self.checks = 0

    def publish(self, still_wanted: Callable[[], None] = lambda: None, **uids: np.ndarray) -> list[str]:
        placed = {name: Placed(self.folder / name, f"J5/cryobridge/{name}") for name in self.result.outputs}
        return list(publish(self.server, card_of(), self.recipe, self.result, placed, uids, still_wanted))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_volume_is_one_row_with_its_path_box_and_voxel_size(bench: Bench) -> None:
    (line,) = bench.publish()
    saved = bench.server.outputs["fsc3d"]
    assert saved["map/path"].tolist() == ["J5/cryobridge/FSC3D.mrc"]
    assert saved["map/shape"].tolist() == [[BOX, BOX, BOX]]
    assert saved["map/shape"].dtype == np.uint32
    assert saved["map/psize_A"].tolist() == [np.float32(VOXEL_A)]
    assert "FSC3D.mrc" in line


def test_the_same_result_saved_twice_is_the_same_table(bench: Bench) -> None:
    bench.publish()
    first = bench.server.outputs.pop("fsc3d")
    bench.publish()
    assert all(np.array_equal(first[column], bench.server.outputs["fsc3d"][column]) for column in first)


def test_an_output_that_passes_an_input_through_keeps_its_rows_ids(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.result = written_result(tmp_path, "map.lowpass", {"lowpassed.mrc": "map"})
    bench.recipe = recipes()["map.lowpass"]
    bench.publish(volume=UIDS)
    assert bench.server.outputs["volume"]["uid"].tolist() == [77]


@pytest.mark.parametrize("extra", ["map/series", "map/precision", "blob/path"])
def test_a_column_that_the_server_asks_for_and_nobody_knows_is_named(bench: Bench, extra: str) -> None:
    """C1: fields are checked against the slot before anything is sent, and the missing one is named."""
    bench.server.fields.append((extra, "f4"))
    with pytest.raises(InputInvalid, match=f"asks for a column '{extra}' in the output 'fsc3d'"):
        bench.publish()
    assert "save_output" not in bench.server.calls


@pytest.mark.parametrize("column", ["map/path", "map/shape", "map/psize_A"])
def test_a_column_that_the_server_does_not_know_is_named(bench: Bench, column: str) -> None:
    bench.server.fields = [one for one in bench.server.fields if one[0] != column]
    with pytest.raises(InputInvalid, match=f"the server has no column '{column}'"):
        bench.publish()
    assert "save_output" not in bench.server.calls


@pytest.mark.parametrize("dtype", ["nonsense", "2f4", "M8[s]", "", "3u4,3u4", "f4" * 50])
def test_a_type_that_a_column_cannot_have_is_one_sentence(bench: Bench, dtype: str) -> None:
    bench.server.fields = [(name, dtype if name == "map/shape" else form) for name, form in bench.server.fields]
    with pytest.raises(InputInvalid, match="column 'map/shape' of the output 'fsc3d'") as caught:
        bench.publish()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["<f4", "f8", "=f4"])
def test_number_types_are_the_servers(bench: Bench, dtype: str) -> None:
    bench.server.fields = [(name, dtype if name == "map/psize_A" else form) for name, form in bench.server.fields]
    bench.publish()
    assert bench.server.outputs["fsc3d"]["map/psize_A"].dtype == np.dtype(dtype)


def emptied(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: values[:0] for name, values in columns.items()}


def without_path(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: values for name, values in columns.items() if name != "map/path"}


def other_path(columns: dict[str, Any]) -> dict[str, Any]:
    return columns | {"map/path": np.array(["J1/other.mrc"])}


def text_for_a_number(columns: dict[str, Any]) -> dict[str, Any]:
    return columns | {"map/psize_A": np.array(["three"])}


def other_ids(columns: dict[str, Any]) -> dict[str, Any]:
    return columns | {"uid": columns["uid"] + np.uint64(1)}


@pytest.mark.parametrize("spoil", [emptied, without_path, other_path, text_for_a_number, other_ids])
def test_a_table_that_arrives_otherwise_is_sent_once_more_and_then_is_an_error(bench: Bench, spoil: Any) -> None:
    """Trap 5: the upload of a table that was cut off is an empty table, and no error of the client."""
    bench.server.faults["arrives"] = [spoil]
    bench.publish()
    assert bench.server.calls.count("save_output") == 2
    assert bench.server.outputs["fsc3d"]["map/path"].tolist() == ["J5/cryobridge/FSC3D.mrc"]
    bench.server.faults["arrives"] = [spoil] * 10
    with pytest.raises(BadResult, match="the server did not keep the output 'fsc3d' as it was sent"):
        bench.publish()


def test_nothing_is_saved_for_a_card_that_was_killed(bench: Bench) -> None:
    def killed() -> None:
        raise KeyError("killed")

    with pytest.raises(KeyError):
        bench.publish(still_wanted=killed)
    assert bench.server.calls == []


def test_a_file_that_is_no_map_is_a_sentence(bench: Bench) -> None:
    (bench.folder / "FSC3D.mrc").write_bytes(b"x" * 2000)
    with pytest.raises(InputInvalid, match=r"FSC3D\.mrc"):
        bench.publish()
