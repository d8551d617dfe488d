"""Files of a project as seen from here: links, names, pipes, folders of the same name, and what the server gives."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fake_cryosparc import CARD, FakeCryosparc, card_of

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc.card import project_files
from cryobridge.wrappers.cryosparc.card.project_files import MAX_PATH_CHARACTERS, ProjectFiles

CLAIM = ("bridge_claim.json", b'{"owner": "me"}')


class Place:
    """A project's folder with a card that was claimed, a file of another job, and a server that gives files too."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "CS-1"
        self.outside = folder / "outside"
        self.work = folder / "work"
        for one in (self.project / "J1", self.project / CARD.job, self.outside):
            one.mkdir(parents=True)
        (self.project / CARD.job / CLAIM[0]).write_bytes(CLAIM[1])
        (self.project / "J1" / "half.mrc").write_bytes(b"a map")
        (self.outside / "half.mrc").write_bytes(b"a map of somebody else")
        self.server = FakeCryosparc(self.project)

    def files(self, also_read: Sequence[Path] = (), claim: tuple[str, bytes] = CLAIM) -> ProjectFiles:
        return ProjectFiles(self.server, card_of(), claim, self.work, also_read)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_file_of_the_project_is_read_where_it_is(place: Place) -> None:
    files = place.files()
    assert files.visible
    assert files.here("J1/half.mrc") == place.project / "J1/half.mrc"
    assert files.here(">J1/half.mrc") == place.project / "J1/half.mrc"
    assert "download" not in place.server.calls
    assert files.output_folder == place.project / CARD.job / "cryobridge"


@pytest.mark.parametrize(
    "path",
    [
        "",
        " ",
        "/etc/passwd",
        ">/etc/passwd",
        "../outside/half.mrc",
        "J1/../../outside/half.mrc",
        "J1/half.mrc\n",
        "J1/\0half.mrc",
        "x" * (MAX_PATH_CHARACTERS + 1),
    ],
)
def test_a_path_out_of_the_project_is_refused_whatever_is_there(place: Place, path: str) -> None:
    with pytest.raises(InputInvalid, match="is no path inside of a project"):
        place.files().here(path)


@pytest.mark.parametrize("path", ["J1/none.mrc", "J9/half.mrc", "J1/half.mrc/below", "x" * 300, "J1/" * 400 + "x"])
def test_a_file_that_is_gone_is_one_sentence_with_its_path(place: Place, path: str) -> None:
    """C12: nothing is waited for, and the path is in the sentence."""
    with pytest.raises(InputInvalid, match="P1-J5 needs is gone") as caught:
        place.files().here(path)
    assert path.split("/")[-1] in str(caught.value)


@pytest.mark.parametrize("path", ["J1", ".", ">", "J1/pipe"])
def test_what_is_no_file_is_refused_and_not_waited_for(place: Place, path: str) -> None:
    os.mkfifo(place.project / "J1/pipe")
    with pytest.raises(InputInvalid, match="is no file"):
        place.files().here(path)


def test_a_link_inside_of_the_project_is_followed(place: Place) -> None:
    (place.project / CARD.job / "link.mrc").symlink_to(place.project / "J1/half.mrc")
    (place.project / "imported").symlink_to("J1", target_is_directory=True)
    assert place.files().here(f"{CARD.job}/link.mrc").read_bytes() == b"a map"
    assert place.files().here("imported/half.mrc").read_bytes() == b"a map"


@pytest.mark.parametrize("how", ["file", "folder", "chain"])
def test_a_link_out_of_the_project_is_not_followed_here(place: Place, how: str) -> None:
    """C2: what the server gives is taken from it, and where it does not, a sentence says what to do."""
    project = place.project
    if how == "file":
        (project / "J1/out.mrc").symlink_to(place.outside / "half.mrc")
    elif how == "folder":
        (project / "J1/far").symlink_to(place.outside, target_is_directory=True)
    else:
        (project / "J1/near").symlink_to("out.mrc")
        (project / "J1/out.mrc").symlink_to(place.outside / "half.mrc")
    path = {"file": "J1/out.mrc", "folder": "J1/far/half.mrc", "chain": "J1/near"}[how]
    with pytest.raises(InputInvalid, match=r"leads out of the project, to .*also-read") as caught:
        place.files().here(path)
    assert str(place.outside) in str(caught.value)
    place.server.files[path] = b"as the server has it"
    assert place.files().here(path).read_bytes() == b"as the server has it"


def test_a_folder_that_the_operator_allows_may_be_led_to(place: Place) -> None:
    (place.project / "J1/out.mrc").symlink_to(place.outside / "half.mrc")
    assert place.files([place.outside]).here("J1/out.mrc").read_bytes() == b"a map of somebody else"
    with pytest.raises(InputInvalid, match="leads out"):
        place.files([place.outside / "deeper"]).here("J1/out.mrc")
    (place.outside.parent / "outside-too").mkdir()
    (place.outside.parent / "outside-too" / "x").write_bytes(b"")
    (place.project / "J1/next.mrc").symlink_to(place.outside.parent / "outside-too" / "x")
    with pytest.raises(InputInvalid, match="leads out"):
        place.files([place.outside]).here("J1/next.mrc")


def test_links_in_a_circle_are_a_sentence(place: Place) -> None:
    (place.project / "J1/a").symlink_to("b")
    (place.project / "J1/b").symlink_to("a")
    with pytest.raises(InputInvalid, match="is gone"):
        place.files().here("J1/a")


def test_a_project_that_lies_behind_a_link_is_the_project(place: Place) -> None:
    place.server.folder = place.project.parent / "by-another-name"
    place.server.folder.symlink_to(place.project, target_is_directory=True)
    files = place.files()
    assert files.visible
    assert files.here("J1/half.mrc").read_bytes() == b"a map"


@pytest.mark.parametrize("content", [b"", b"{}", CLAIM[1] + b" ", b'{"owner": "he"}'])
def test_a_folder_of_the_same_name_that_is_another_is_not_used(place: Place, content: bytes) -> None:
    (place.project / CARD.job / CLAIM[0]).write_bytes(content)
    place.server.files["J1/half.mrc"] = b"as the server has it"
    files = place.files()
    assert not files.visible
    assert not files.writable
    assert files.here("J1/half.mrc").read_bytes() == b"as the server has it"
    assert files.output_folder == place.work / "out"


def test_a_pipe_in_place_of_the_claim_is_not_waited_for(place: Place) -> None:
    claim = place.project / CARD.job / CLAIM[0]
    claim.unlink()
    os.mkfifo(claim)
    assert not place.files().visible


def test_a_project_that_is_not_on_this_machine_is_fetched(place: Place) -> None:
    place.server.folder = Path("/no/such/place")
    place.server.files["J1/half.mrc"] = b"as the server has it"
    files = place.files()
    first = files.here("J1/half.mrc")
    assert first.read_bytes() == b"as the server has it"
    assert first.is_relative_to(place.work)
    assert files.here("J1/half.mrc") == first
    assert place.server.calls.count("download") == 1
    with pytest.raises(InputInvalid, match=r"needs J1/none\.mrc.*cannot be downloaded"):
        files.here("J1/none.mrc")


def test_files_whose_names_are_in_each_others_way_are_a_sentence(place: Place) -> None:
    place.server.folder = Path("/no/such/place")
    place.server.files |= {"J1/a": b"1", "J1/a/b": b"2"}
    files = place.files()
    files.here("J1/a")
    with pytest.raises(InputInvalid, match="File exists while J1/a/b was fetched"):
        files.here("J1/a/b")


def test_what_this_user_may_not_read_is_asked_of_the_server(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.project / "J1/half.mrc").chmod(0)
    # Root may read everything.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).stat().st_mode & 0o400 != 0)
    with pytest.raises(InputInvalid, match="may not be read by this user"):
        place.files().here("J1/half.mrc")
    place.server.files["J1/half.mrc"] = b"as the server has it"
    assert place.files().here("J1/half.mrc").read_bytes() == b"as the server has it"


def test_a_folder_of_the_card_that_cannot_be_written_to_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryobridge.wrappers.cryosparc.card import project_files

    monkeypatch.setattr(project_files, "_can_write", lambda _: False)
    files = place.files()
    assert files.visible
    assert files.output_folder == place.work / "out"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("J1/.>x\\ \n\0é\udcff~") | st.characters(), max_size=30))
def test_no_path_of_a_dataset_leads_out(place: Place, path: str) -> None:
    (place.project / "x").unlink(missing_ok=True)
    (place.project / "x").symlink_to(place.outside, target_is_directory=True)
    try:
        found = place.files().here(path)
    except InputInvalid as error:
        said = str(error)
        assert "\n" not in said
    else:
        assert found.resolve().is_relative_to(place.project)
        assert found.is_file()


def test_results_are_not_written_through_a_link(place: Place) -> None:
    """Whoever may write into the card's folder would say where the daemon's user writes."""
    (place.project / CARD.job / "cryobridge").symlink_to(place.outside)
    with pytest.raises(InputInvalid, match="is a link, and results are not written through one"):
        _ = place.files().output_folder


def test_a_card_whose_folder_leads_out_of_the_project_gets_its_results_through_the_server(place: Place) -> None:
    job = place.project / CARD.job
    job.rename(place.outside / "job")
    job.symlink_to(place.outside / "job")
    files = place.files()
    assert files.visible
    assert not files.writable
    assert files.output_folder == place.work / "out"


def test_a_folder_of_another_user_in_the_place_of_the_results_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.project / CARD.job / "cryobridge").mkdir()
    files = place.files()
    monkeypatch.setattr(project_files, "_can_write", lambda folder: folder.name != "cryobridge")
    with pytest.raises(InputInvalid, match="may not be written to by this user; remove it"):
        _ = files.output_folder
