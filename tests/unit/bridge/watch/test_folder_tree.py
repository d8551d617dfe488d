"""The folder tree sees every change, and looks at unchanged folders only once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cryobridge.bridge.watch import folder_tree as folders
from cryobridge.bridge.watch.folder_tree import FolderTree


def listing(tree: FolderTree) -> dict[str, set[str]]:
    return {str(path): set(files) for path, files in tree.folders()}


def age(folder: Path, seconds: float) -> None:
    """Make a folder look as if it had been changed some time ago."""
    then = folder.stat().st_mtime - seconds
    os.utime(folder, (then, then))


def test_files_that_come_and_go_are_seen(tmp_path: Path) -> None:
    tree = FolderTree([tmp_path])
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "one").touch()
    assert listing(tree)[f"{tmp_path}/a/b"] == {"one"}
    (tmp_path / "a" / "b" / "two").touch()
    assert listing(tree)[f"{tmp_path}/a/b"] == {"one", "two"}
    (tmp_path / "a" / "b" / "one").unlink()
    assert listing(tree)[f"{tmp_path}/a/b"] == {"two"}
    (tmp_path / "a" / "b" / "two").unlink()
    (tmp_path / "a" / "b").rmdir()
    assert f"{tmp_path}/a/b" not in listing(tree)


def test_an_unchanged_folder_is_not_listed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    age(tmp_path / "a", 100)
    age(tmp_path, 100)
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(folders.os, "scandir", lambda path: (listed.append(path), scandir(path))[1])
    tree = FolderTree([tmp_path])
    first = listing(tree)
    assert len(listed) == 2
    assert listing(tree) == first
    assert len(listed) == 2
    (tmp_path / "a" / "new").touch()
    assert listing(tree)[f"{tmp_path}/a"] == {"new"}
    assert listed[2:] == [f"{tmp_path}/a"]


def test_a_change_that_leaves_the_time_as_it_was_is_seen_sooner_or_later(tmp_path: Path) -> None:
    """File servers with coarse or wrong clocks do this."""
    age(tmp_path, 100)
    then = tmp_path.stat().st_mtime
    tree = FolderTree([tmp_path])
    listing(tree)
    (tmp_path / "hidden").touch()
    os.utime(tmp_path, (then, then))
    assert any("hidden" in listing(tree)[str(tmp_path)] for _ in range(folders.FULL_EVERY))


def test_links_hidden_folders_and_depth_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "alias").symlink_to("a")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / ".git").mkdir()
    tmp_path.joinpath(*"123456789").mkdir(parents=True)
    seen = listing(FolderTree([tmp_path]))
    assert f"{tmp_path}/alias" not in seen
    assert f"{tmp_path}/.git" not in seen
    assert f"{tmp_path}/1/2/3/4/5/6" in seen
    assert f"{tmp_path}/1/2/3/4/5/6/7" not in seen


def test_an_absent_root_and_a_root_in_a_root_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    tree = FolderTree([tmp_path / "absent", tmp_path, tmp_path / "a"])
    paths = [path for path, _ in tree.folders()]
    assert paths == [tmp_path, tmp_path / "a"]


def test_a_tree_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_FOLDERS", 3)
    for name in "abcdef":
        (tmp_path / name).mkdir()
    assert len(listing(FolderTree([tmp_path]))) == 3
