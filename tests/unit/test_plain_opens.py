"""No file that somebody else may have put there is opened in a way that can wait for ever."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS_ALONE = {
    "bridge/bootstrap.py": "the installation",
    "bridge/commands/checking.py": "a new folder in /tmp",
    "bridge/commands/cryosparc_folder.py": "a new folder in /tmp",
    "bridge/commands/kinds.py": "a new folder in /tmp",
    "bridge/commands/reference.py": "a page of the documents",
    "bridge/daemon/listening.py": "the socket's own folder",
    "bridge/doctor/installation.py": "a new folder in /tmp",
    "bridge/jobs_daemon.py": "the socket's own folder",
    "bridge/pool/place.py": "the state folder",
    "bridge/queue/incidents.py": "the state folder",
    "bridge/queue/opening.py": "the state folder",
    "bridge/queue/salvage.py": "the state folder",
    "bridge/refinements/program.py": "/proc",
    "wrappers/relion/demo": "a new folder in /tmp",
    "wrappers/relion/hook/daemon.py": "the socket's own folder",
    "wrappers/relion/hook/partner.py": "for writing too, which never waits, or a new file",
    "wrappers/relion/hook/processes.py": "/proc",
    "wrappers/relion/hook/standard.py": "for writing too, which never waits",
}
"""Where only the user himself, root or the kernel can put a file, or opening cannot wait."""
NEVER_WAIT = ("O_NONBLOCK", "O_EXCL", "O_DIRECTORY")
READY = ("fd", "descriptor")


def plain_opens(source: str) -> Iterator[int]:
    """Lines that open a path without looking at what it is."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called, words = ast.unparse(node.func), ast.unparse(node)
        first = node.args[0] if node.args else None
        if called == "open":
            # A call that gives a descriptor, or one that there is.
            if not (isinstance(first, ast.Call) or (isinstance(first, ast.Name) and first.id in READY)):
                yield node.lineno
        elif called == "os.open":
            if not any(flag in words for flag in NEVER_WAIT):
                yield node.lineno
        elif isinstance(node.func, ast.Attribute):
            is_mode = (
                isinstance(first, ast.Constant) and isinstance(first.value, str) and set(first.value) <= set("rwabx+")
            )
            name = node.func.attr
            if (
                name in ("read_text", "read_bytes", "write_bytes")
                or (name == "open" and is_mode)
                or (name == "write_text" and len(node.args) == 1)
            ):
                yield node.lineno


def test_foreign_files_are_opened_in_one_way() -> None:
    found = []
    for top in ("bridge", "core", "schemas", "wrappers"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not name.startswith(tuple(OURS_ALONE)):
                found += [f"{name}:{line}" for line in plain_opens(path.read_text())]
    assert found == []


def test_a_plain_open_would_be_found() -> None:
    plain = [
        "open(path)",
        "open('x', 'rb')",
        "path.open('rb')",
        "path.open('w', encoding='utf-8')",
        "path.read_text()",
        "path.read_bytes()",
        "path.write_text('x')",
        "os.open(path, os.O_RDONLY | os.O_CLOEXEC)",
    ]
    fine = [
        "open(open_plain(path), 'rb')",
        "open(fd, 'rb')",
        "os.open(path, os.O_RDONLY | os.O_NONBLOCK)",
        "folder.write_text('x.csv', text)",
        "archive.open(entry)",
    ]
    assert [line for line in plain + fine if list(plain_opens(line))] == plain
