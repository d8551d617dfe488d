"""What an agent keeps of its cards: private, locked between processes, whole, and never believed when it was edited."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc.card.memory import Memory, Remembered
from cryobridge.wrappers.cryosparc.documents import CardId

CARD = CardId("P1", "J5")
SOUND = {"project": "P1", "job": "J5", "request": "cs-P1-J5-ab12", "claim": "bridge_claim.json", "started": True}


def kept(memory: Memory, card: CardId = CARD) -> Remembered | None:
    with memory.held(card) as held:
        assert held is not None
        return held.known


def test_what_was_noted_is_there_after_a_death(tmp_path: Path) -> None:
    with Memory(tmp_path / "m").held(CARD) as held:
        assert held is not None
        begun = held.begin()
        held.note(begun.but(claim="bridge_claim.json", started=True, spec={"kind": "map.fsc3d"}, published=("a", "b")))
    again = kept(Memory(tmp_path / "m"))
    assert again == begun.but(claim="bridge_claim.json", started=True, spec={"kind": "map.fsc3d"}, published=("a", "b"))
    assert Memory(tmp_path / "m").cards() == [CARD]


def test_a_card_that_ended_is_forgotten_and_its_next_request_has_another_name(tmp_path: Path) -> None:
    memory, names = Memory(tmp_path), set()
    for _ in range(3):
        with memory.held(CARD) as held:
            assert held is not None
            names.add(held.begin().request)
            held.forget()
    assert len(names) == 3
    assert memory.cards() == []


def test_a_card_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    script = (
        "import sys; from pathlib import Path\n"
        "from cryobridge.wrappers.cryosparc.card.memory import Memory\n"
        "from cryobridge.wrappers.cryosparc.documents import CardId\n"
        "with Memory(Path(sys.argv[1])).held(CardId('P1', 'J5')) as held:\n"
        "    print('taken' if held is None else 'held', flush=True)\n"
        "    sys.stdin.read()\n"
    )

    def other() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    with memory.held(CARD) as held, memory.held(CardId("P1", "J6")) as another:
        assert held is not None
        assert another is not None
        assert other().communicate()[0] == "taken\n"
    living = other()
    assert living.stdout is not None
    assert living.stdout.readline() == "held\n"
    with memory.held(CARD) as held:
        assert held is None
    # A process that was killed holds nothing.
    living.kill()
    living.communicate()
    with memory.held(CARD) as held:
        assert held is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xff",
        b"[" * 100_000,
        b" " * 2_000_000,
        json.dumps({**SOUND, "job": "J6"}).encode(),
        json.dumps({**SOUND, "more": 1}).encode(),
        json.dumps({key: value for key, value in SOUND.items() if key != "request"}).encode(),
        json.dumps({**SOUND, "request": ""}).encode(),
        json.dumps({**SOUND, "request": 5}).encode(),
        json.dumps({**SOUND, "claim": "../../../etc/passwd"}).encode(),
        json.dumps({**SOUND, "claim": ".."}).encode(),
        json.dumps({**SOUND, "claim": None}).encode(),
        json.dumps({**SOUND, "started": "no"}).encode(),
        json.dumps({**SOUND, "spec": "map.fsc3d"}).encode(),
        json.dumps({**SOUND, "published": [1, 2]}).encode(),
        json.dumps({**SOUND, "published": None}).encode(),
    ],
)
def test_a_file_that_somebody_edited_is_not_guessed_at(tmp_path: Path, content: bytes) -> None:
    memory = Memory(tmp_path)
    (tmp_path / f"{CARD}.json").write_bytes(content)
    assert kept(memory) is None


def test_a_sound_file_is_believed(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    (tmp_path / f"{CARD}.json").write_text(json.dumps(SOUND))
    assert kept(memory) == Remembered(**SOUND)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    os.mkfifo(tmp_path / f"{CARD}.json")
    assert kept(memory) is None


def test_only_files_of_cards_are_cards(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    for name in ("P1-J5", "P12-J7", "P-J1", "P0-J1", "Px-Jy", "P1-J5-J6", "P1-J1234567890"):
        (tmp_path / f"{name}.json").write_text("{}")
    (tmp_path / "P1-J9.lock").touch()
    assert memory.cards() == [CardId("P1", "J5"), CardId("P12", "J7")]


def test_nothing_is_left_of_a_card_that_has_ended(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    before = sorted(tmp_path.iterdir())
    with memory.held(CARD) as held:
        assert held is not None
        held.begin()
        held.forget()
    assert sorted(tmp_path.iterdir()) == before


def test_a_lock_that_was_removed_while_it_was_waited_for_locks_nobody_out_and_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, lock = Memory(tmp_path), fcntl.flock

    def removed_meanwhile(descriptor: int, how: int) -> None:
        (tmp_path / f"{CARD}.lock").unlink()
        lock(descriptor, how)

    with monkeypatch.context() as slow:
        slow.setattr(fcntl, "flock", removed_meanwhile)
        with memory.held(CARD) as held:
            assert held is None
    with memory.held(CARD) as held:
        assert held is not None


class Killed(BaseException):
    """As good as kill -9 at this very place: what would clean up is not reached."""


def test_a_write_that_was_cut_off_leaves_what_was_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(tmp_path)
    with memory.held(CARD) as held:
        assert held is not None
        known = held.begin()

        def dies(*_: object) -> None:
            raise Killed

        for step in ("fsync", "pwrite"):
            with monkeypatch.context() as broken, contextlib.suppress(Killed):
                broken.setattr(os, step, dies)
                held.note(known.but(started=True))
    (tmp_path / ".P1-J5.json.0123456789abcdef.part").write_text('{"project": "P1"')
    again = Memory(tmp_path)
    assert kept(again) == known
    assert list(tmp_path.glob(".*.part")) == []


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    fresh, open_to_all = tmp_path / "deep" / "fresh", tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    before = os.umask(0o000)
    try:
        for folder in (fresh, open_to_all):
            Memory(folder)
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputInvalid, match="cannot be used to keep what is done"):
            Memory(folder)


def test_processes_that_begin_at_once_have_one_name(tmp_path: Path) -> None:
    """By another name an agent's own claims would be another's after its death."""
    script = (
        "import sys; from pathlib import Path; from cryobridge.wrappers.cryosparc.card.memory import Memory\n"
        "sys.stdin.read(); print(Memory(Path(sys.argv[1])).owner)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    names = {process.stdout.read() for process in processes if process.stdout is not None}
    assert [process.wait() for process in processes] == [0] * 4
    assert names == {f"{Memory(tmp_path).owner}\n"}
    assert len(names.pop().strip()) == 16


def test_another_folder_is_another_agent(tmp_path: Path) -> None:
    assert Memory(tmp_path / "a").owner != Memory(tmp_path / "b").owner
    assert Memory(tmp_path / "a").owner == Memory(tmp_path / "a").owner
