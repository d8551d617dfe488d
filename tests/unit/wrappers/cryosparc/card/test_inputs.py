"""What is connected to a card, as inputs of a job: which mask is taken, and what is said where something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_cryosparc import CARD, FakeCryosparc, card_of, volume_input

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc.card.inputs import Staged, missing_inputs, staged
from cryobridge.wrappers.cryosparc.card.project_files import ProjectFiles
from cryobridge.wrappers.cryosparc.documents import Card, CardInput, Source
from cryobridge.wrappers.cryosparc.recipes import recipes
from cryobridge.wrappers.formats.cs_table import read_table

SLOTS = ("map_half_A", "map_half_B", "mask_refine", "mask_fsc")


def row(*slots: str, rows: int = 1) -> dict[str, Any]:
    columns: dict[str, Any] = {"uid": np.arange(7, 7 + rows, dtype=np.uint64)}
    return columns | {f"{slot}/path": np.array([f"J1/{slot}.mrc"] * rows) for slot in slots}


class Bench:
    """A project with the files of a refinement, and a card that they are connected to."""

    def __init__(self, folder: Path) -> None:
        self.server = FakeCryosparc(folder / "CS-1")
        (folder / "CS-1" / "J1").mkdir(parents=True)
        for slot in (*SLOTS, "mask", "map"):
            (folder / "CS-1" / "J1" / f"{slot}.mrc").touch()
        place = folder / "CS-1" / CARD.job
        place.mkdir()
        (place / "claim").write_bytes(b"mine")
        self.files = ProjectFiles(self.server, card_of(), ("claim", b"mine"), folder / "work")

    def stage(self, card: Card, kind: str = "map.fsc3d", use_mask: Any = "auto") -> Staged:
        return staged(self.server, card, recipes()[kind], self.files, use_mask)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.server.connected = {"volume": row(*SLOTS), "mask": row("mask")}
    return made


def connected(*slots: str, with_mask: bool = False) -> Card:
    inputs = {"volume": volume_input(*slots)}
    if with_mask:
        inputs["mask"] = CardInput((Source("J2", "mask", ("mask",)),))
    return card_of(inputs=inputs)


def named(found: Staged) -> dict[str, str]:
    return {key: path.name for key, path in found.paths.items()}


def test_half_maps_and_the_first_of_its_masks_come_from_a_volume(bench: Bench) -> None:
    found = bench.stage(connected(*SLOTS))
    assert named(found) == {"half1": "map_half_A.mrc", "half2": "map_half_B.mrc", "mask": "mask_refine.mrc"}
    assert found.uids["volume"].tolist() == [7]
    assert "mask: J1/mask_refine.mrc" in found.notes


def test_a_mask_that_is_connected_for_itself_goes_first(bench: Bench) -> None:
    assert named(bench.stage(connected(*SLOTS, with_mask=True)))["mask"] == "mask.mrc"


@pytest.mark.parametrize(
    ("use_mask", "mask"), [("mask_fsc", "mask_fsc.mrc"), ("mask_refine", "mask_refine.mrc"), ("none", None)]
)
def test_the_mask_can_be_chosen(bench: Bench, use_mask: str, mask: str | None) -> None:
    bench.server.connected["volume"] = row(*(slot for slot in SLOTS if use_mask in ("none", slot) or "half" in slot))
    found = bench.stage(connected(*SLOTS), use_mask=use_mask)
    assert named(found).get("mask") == mask
    assert any(note.startswith("mask:") for note in found.notes) == (mask is not None)


def test_no_mask_means_also_the_one_that_is_connected(bench: Bench) -> None:
    assert "mask" not in bench.stage(connected(*SLOTS, with_mask=True), use_mask="none").paths


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        (card_of(), "input 'volume' is not connected"),
        (card_of(inputs={"volume": CardInput(())}), "input 'volume' is not connected"),
        (connected("map_half_A", "mask_refine"), "what is connected to 'volume' has no map_half_B"),
    ],
)
def test_what_is_missing_is_one_sentence(bench: Bench, card: Card, sentence: str) -> None:
    assert missing_inputs(card, recipes()["map.fsc3d"]) == [sentence]
    with pytest.raises(InputInvalid, match=sentence):
        bench.stage(card)
    assert bench.server.calls.count("load_input") == 0


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({}, "has no rows"),
        (row(*SLOTS, rows=0), "has no rows"),
        (row(*SLOTS, rows=3), "holds 3 volumes; connect one of them"),
        (row("map_half_A") | {"map_half_B/path": np.array(["/etc/passwd"])}, "is no path inside of a project"),
    ],
)
def test_tables_that_cannot_be_used_are_one_sentence(bench: Bench, columns: dict[str, Any], sentence: str) -> None:
    bench.server.connected["volume"] = columns
    with pytest.raises(InputInvalid, match=sentence):
        bench.stage(connected(*SLOTS))


def test_particles_come_as_one_table_with_all_their_rows(bench: Bench) -> None:
    table = {
        "uid": np.arange(5, dtype=np.uint64),
        "alignments3D/pose": np.zeros((5, 3), np.float32),
        "alignments3D/psize_A": np.ones(5, np.float32),
    }
    bench.server.connected = {"particles": table}
    card = card_of(inputs={"particles": CardInput((Source("J1", "particles", ("alignments3D",)),))})
    found = bench.stage(card, "map.sampling")
    kept = read_table(found.paths["particles"])
    assert all(np.array_equal(kept[name], values) for name, values in table.items())
    assert found.notes == ["particles: 5 of them"]
