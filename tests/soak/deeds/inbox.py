"""Files in the inbox that are no jobs. Each plain one is answered, and a good one that comes after is done (D5)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from pathlib import Path

from ..stage import Stage
from .deed import Deed

BOMB = "".join(f"a{n}: &a{n} [{', '.join(f'*a{n - 1}' for _ in range(9))}]\n" for n in range(1, 12))
TEXTS: dict[str, bytes] = {
    "long hex": b"schema: 0x" + b"f" * 20_000 + b"\n",
    "long integer": b"schema: " + b"9" * 20_000 + b"\n",
    "sexagesimal": b"schema: 1" + b":59" * 4_000 + b"\n",
    "no such date": b"schema: 2001-99-99\nkind: 2001-02-30\n",
    "anchors": b"a0: &a0 [x, x]\n" + BOMB.encode(),
    "tag": b"schema: !!python/object/apply:os.system ['touch owned']\n",
    "binary": b"schema: !!binary ====\nkind: !!set {a, b}\n",
    "nesting": b"[" * 20_000,
    "not text": bytes(range(256)) * 10,
    "utf-16": "schema: cryobridge/job/1\n".encode("utf-16"),
    "key that is a list": b"? [schema, kind]\n: x\n",
    "merge": b"<<: 5\nschema: x\n",
    "not a number": b"schema: cryobridge/job/1\nkind: map.lowpass\noptions: {resolution_A: .nan}\n",
    "tabs": b"schema:\t\tx\n\tkind: y\n",
    "list": b"- 1\n- 2\n",
    "too large": b"# " + b"x" * 3_000_000,
}


def odd_texts(stage: Stage, dice: random.Random) -> str:
    """Some of the texts, with odd times, then a good job; all are answered."""
    chosen = dice.sample(sorted(TEXTS), 4)
    mark = f"{dice.randrange(2**32):08x}"
    waiting = []
    for number, name in enumerate(chosen):
        stem = f"odd-{mark}-{number}"
        _drop(stage, f"{stem}.yaml", TEXTS[name], dice.choice((None, -2e9, 2e10, 0.0)))
        waiting.append((stem, name))
    good = _drop_good(stage, mark)
    return _await(stage, [*waiting, (good, "a good job")])


def odd_files(stage: Stage, dice: random.Random) -> str:
    """Things that are no plain files, and names that are hardly names, then a good job."""
    mark = f"{dice.randrange(2**32):08x}"
    made = []
    inbox = os.fsencode(stage.inbox)
    for name, make in (
        (f"pipe-{mark}.yaml", os.mkfifo),
        (f"folder-{mark}.yaml", os.mkdir),
        (f"link-{mark}.yaml", lambda path: os.symlink("/etc/passwd", path)),
        (f"loop-{mark}.yaml", lambda path: os.symlink(path, path)),
        (f"zero-{mark}.json", lambda path: os.symlink("/dev/zero", path)),
        (f"line\nbreak-{mark}.yaml", _empty_map),
        ("x" * 230 + f"{mark}.yaml", _empty_map),
        (f"~{mark}~.yaml", _empty_map),
        (f"-rf {mark}.yaml", _empty_map),
    ):
        path = os.path.join(inbox, os.fsencode(name))
        with contextlib.suppress(OSError):
            make(path)
            made.append(path)
    raw = os.path.join(inbox, b"\xff\xfe-" + mark.encode() + b".yaml")
    _empty_map(raw)
    answer = _await(stage, [(_drop_good(stage, mark), "a good job")])
    for path in [*made, raw]:
        _remove(path)
    return answer


def a_file_that_grows(stage: Stage, dice: random.Random) -> str:
    """A job file that is copied slowly is taken whole, or not before it is."""
    mark = f"slow-{dice.randrange(2**32):08x}"
    text = json.dumps(_good(stage, mark))
    path = stage.inbox / f"{mark}.json"
    with path.open("w") as file:
        for start in range(0, len(text), 40):
            file.write(text[start : start + 40])
            file.flush()
            time.sleep(0.05)
    return _await(stage, [(mark, "a good job")])


def _good(stage: Stage, mark: str) -> dict[str, object]:
    submitting = stage.services["submitting"]
    spec: dict[str, object] = submitting.spec("lowpass", stage.folder / "jobs" / f"inbox-{mark}")
    return spec


def _drop_good(stage: Stage, mark: str) -> str:
    stem = f"zz-good-{mark}"
    _drop(stage, f"{stem}.yaml", json.dumps(_good(stage, mark)).encode(), None)
    return stem


def _drop(stage: Stage, name: str, text: bytes, changed_at: float | None) -> None:
    part = stage.inbox / f".{name}.mine"
    part.write_bytes(text)
    if changed_at is not None:
        with contextlib.suppress(OSError, OverflowError):
            os.utime(part, (changed_at, changed_at))
    part.rename(stage.inbox / name)


def _await(stage: Stage, waiting: list[tuple[str, str]]) -> str:
    """Wait until every stem is answered; says which were not. Answers are removed.

    A good job may fail only as others may: when its worker was lost too often, or while something was short.
    """
    began_s = stage.history.now_s

    def answers(stem: str) -> list[Path]:
        return [path for ending in (".result.json", ".error.txt") if (path := stage.inbox / f"{stem}{ending}").exists()]

    in_time = stage.services["submitting"].until(lambda: all(answers(stem) for stem, _ in waiting))
    for stem, what in waiting:
        found = answers(stem)
        stage.history.check("inbox answers", bool(found), f"{what} ({stem}): no answer")
        good = what == "a good job"
        if found and good:
            said = found[0].read_text()[:300]
            fine = found[0].suffix == ".json" or "worker_died" in said or stage.history.was_kept("room", began_s)
            stage.history.check("inbox answers", fine, f"{stem}: {said}")
        for path in found:
            path.unlink(missing_ok=True)
    return f"{', '.join(what for _, what in waiting)}: {'all answered' if in_time else 'not all answered'}"


def _empty_map(path: bytes) -> None:
    with open(path, "wb") as file:
        file.write(b"{}\n")


def _remove(path: bytes) -> None:
    with contextlib.suppress(OSError):
        if os.path.isdir(path) and not os.path.islink(path):
            os.rmdir(path)
        else:
            os.unlink(path)


DEEDS = (
    Deed("odd texts in the inbox", odd_texts, 2),
    Deed("odd files in the inbox", odd_files),
    Deed("a file that grows in the inbox", a_file_that_grows),
)
