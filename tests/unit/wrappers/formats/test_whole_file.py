"""Files appear whole or not at all, and what a killed writer left goes, never what a living one writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cryobridge.wrappers.formats.whole_file import remove_leftovers, whole_file, write_all

LEFT = ".map.mrc.0123456789abcdef.part"
WRITER = """
import sys, time
from cryobridge.wrappers.formats.whole_file import whole_file, write_all
with whole_file(sys.argv[1]) as descriptor:
    write_all(descriptor, b"half", 0)
    print("written", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_whole_and_nothing_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "map.mrc").write_bytes(b"older and longer")
    with whole_file(tmp_path / "map.mrc") as descriptor:
        write_all(descriptor, b"new", 0)
        assert (tmp_path / "map.mrc").read_bytes() == b"older and longer"
    assert (tmp_path / "map.mrc").read_bytes() == b"new"
    assert names(tmp_path) == ["map.mrc"]


def test_a_failure_leaves_the_older_file_alone(tmp_path: Path) -> None:
    (tmp_path / "map.mrc").write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "map.mrc"):
        raise ZeroDivisionError
    assert names(tmp_path) == ["map.mrc"]
    assert (tmp_path / "map.mrc").read_bytes() == b"older"


def test_two_writers_of_one_name_do_not_meet(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as one, whole_file(tmp_path / "a") as other:
        write_all(one, b"one", 0)
        write_all(other, b"other", 0)
    assert (tmp_path / "a").read_bytes() == b"one"


def test_a_living_writer_keeps_its_file_and_a_killed_ones_goes(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "map.mrc"], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        (left,) = names(tmp_path)
        assert remove_leftovers(tmp_path) == []
        assert names(tmp_path) == [left]
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    assert names(tmp_path) == [left]
    assert remove_leftovers(tmp_path) == [left]
    assert names(tmp_path) == []


def test_only_what_is_named_as_ours_and_a_file_is_removed(tmp_path: Path) -> None:
    theirs = ["map.mrc.part", ".map.mrc.part", ".map.mrc.0123.part", ".lock", "x" + LEFT]
    for name in theirs:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / ".l.0123456789abcdef.part").symlink_to(tmp_path / "target")
    (tmp_path / ".d.0123456789abcdef.part").mkdir()
    os.mkfifo(tmp_path / ".f.0123456789abcdef.part")
    before = names(tmp_path)
    (tmp_path / LEFT).write_bytes(b"half")
    assert remove_leftovers(tmp_path) == [LEFT]
    assert names(tmp_path) == before
    assert remove_leftovers(tmp_path / "absent") == []
