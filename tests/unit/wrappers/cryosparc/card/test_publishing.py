"""What a finished job brings to its card: steps with names that are the same for whoever goes on with them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from support.cryosparc_result import volume_fields, written_result
from support.fake_cryosparc import CARD, FakeCryosparc, card_of

from cryobridge.schemas.envelope import RESULT_NAME
from cryobridge.schemas.errors import BadResult, InputInvalid
from cryobridge.wrappers.cryosparc.card import publishing
from cryobridge.wrappers.cryosparc.card.project_files import ProjectFiles
from cryobridge.wrappers.cryosparc.card.publishing import REPORT_NAME, Publishing
from cryobridge.wrappers.cryosparc.card.request import Request
from cryobridge.wrappers.cryosparc.card.telling import Telling
from cryobridge.wrappers.cryosparc.recipes import recipes

PNG = base64.b64encode(b"\x89PNG picture").decode()
PAGE = (
    f'<figure><img alt="One" src="data:image/png;base64,{PNG}" data-table="fsc.csv"><figcaption>It falls.</figcaption>'
    f'</figure><figure><img alt="Two" src="data:image/png;base64,{PNG}" data-tile></figure>'
)


class Pictured(FakeCryosparc):
    """Keeps what came as pictures."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.pictures: list[tuple[str, bytes | None]] = []

    def plot(self, card: Any, title: str, png: bytes, table: bytes | None) -> None:
        self.pictures.append((title, table))


class Bench:
    """A result in a folder that the server sees or does not see."""

    def __init__(self, folder: Path, *, is_shared: bool, page: str = PAGE) -> None:
        self.server = Pictured(
            folder=folder / "CS-1" if is_shared else Path("/no/such/place"), fields=volume_fields("map")
        )
        place = folder / "CS-1" / CARD.job
        place.mkdir(parents=True)
        (place / "bridge_claim.json").write_bytes(b"mine")
        self.files = ProjectFiles(self.server, card_of(), ("bridge_claim.json", b"mine"), folder / "work")
        self.output = self.files.output_folder
        self.output.mkdir(parents=True)
        written_result(self.output, "map.fsc3d", {"FSC3D.mrc": "fsc3d"}, {"fsc.csv": "1,2\n", REPORT_NAME: page})

    def publishing(self) -> Publishing:
        request = Request(recipes()["map.fsc3d"], {}, self.output, (), {}, self.files)
        return Publishing(self.server, card_of(), request, Telling(self.server, CARD), lambda: None, lambda _: None)

    def publish(self) -> list[str]:
        names = []
        for name, step in self.publishing().steps():
            step()
            names.append(name)
        return names


def test_in_a_shared_folder_nothing_is_uploaded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_shared=True)
    assert bench.publish() == ["rights", "outputs", "checkpoint", "figure 1", "figure 2", "tile", "words"]
    assert "upload" not in bench.server.calls
    assert bench.server.outputs["fsc3d"]["map/path"].tolist() == ["J5/cryobridge/FSC3D.mrc"]


def test_pictures_come_with_their_numbers_and_words(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_shared=True)
    bench.publish()
    assert bench.server.pictures == [("One", b"1,2\n"), ("Two", None)]
    said = "\n".join(text for text, _, _ in bench.server.logged)
    assert "It falls." in said
    assert "resolution_A: 3.21" in said
    assert ("The half-maps are independent.", "text", None) in bench.server.logged


def test_steps_have_the_same_names_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_shared=False)
    assert [name for name, _ in bench.publishing().steps()] == [name for name, _ in bench.publishing().steps()]


def test_without_a_shared_folder_every_file_is_sent_and_fetched_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_shared=False)
    bench.publish()
    sent = {path.removeprefix("J5/"): raw for path, raw in bench.server.files.items()}
    assert sent == {path.name: path.read_bytes() for path in bench.output.iterdir()}
    assert bench.server.outputs["fsc3d"]["map/path"].tolist() == ["J5/FSC3D.mrc"]


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_an_upload_that_arrives_empty_or_cut_is_sent_again(tmp_path: Path, kept: int) -> None:
    """Trap 5: one dropped connection during an upload left a 0-byte file and no error."""
    bench = Bench(tmp_path, is_shared=False)
    bench.server.faults["arrives"] = [lambda raw: raw[:kept]]
    bench.publish()
    assert bench.server.files["J5/FSC3D.mrc"] == (bench.output / "FSC3D.mrc").read_bytes()


def test_an_upload_that_never_arrives_whole_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_shared=False)
    bench.server.faults["arrives"] = [lambda raw: raw[:10]] * 100
    with pytest.raises(BadResult, match=r"FSC3D\.mrc .*does not arrive whole"):
        bench.publish()
    assert "fsc3d" not in bench.server.outputs


@pytest.mark.parametrize("page", ["", "<p>no figure</p>", f'<img src="data:image/png;base64,{PNG}">'])
def test_a_page_without_titles_words_or_figures_is_no_reason_to_fail(tmp_path: Path, page: str) -> None:
    names = Bench(tmp_path, is_shared=True, page=page).publish()
    assert names[-1] == "words"
    assert ("tile" in names) == ("img" in page)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret"])
def test_a_result_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path, is_shared=False)
    path = bench.output / RESULT_NAME
    path.write_text(path.read_text().replace('"fsc.csv":', f'"{name}":'))
    with pytest.raises(BadResult, match="names a file outside of its folder"):
        bench.publish()
    assert bench.server.files == {}


def test_a_link_in_place_of_an_output_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_shared=False)
    (bench.output / "fsc.csv").unlink()
    (bench.output / "fsc.csv").symlink_to("/etc/hostname")
    with pytest.raises(BadResult, match="outside of its folder"):
        bench.publish()


def test_a_table_that_is_too_large_or_gone_leaves_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_MAX_TABLE_BYTES", 2)
    bench = Bench(tmp_path, is_shared=True)
    bench.publish()
    assert bench.server.pictures == [("One", None), ("Two", None)]
    (bench.output / "fsc.csv").unlink()
    assert bench.publish()[-1] == "words"


def test_a_result_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    bench = Bench(tmp_path, is_shared=True)
    (bench.output / RESULT_NAME).unlink()
    with pytest.raises(InputInvalid, match="has not finished"):
        bench.publish()
