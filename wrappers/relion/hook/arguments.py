"""What the hook was called with: its own options, and the STAR file that RELION means.

RELION runs `<variable> <star>` through `sh -c` and quotes nothing. A blank or tab in the output path therefore splits
the name into several arguments, and quotes and backslashes are taken away from it. The file is there all the same: it
is found again as the one whose name, put through the same loss, gives what arrived.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from cryobridge import __version__
from cryobridge.schemas.values import Values

_TAKEN_BY_SHELL = str.maketrans("", "", "'\"\\")


class Arguments(Values):
    """One call's arguments.

    Attributes
    ----------
    star
        The STAR file, under the name that it has in its folder.
    socket
        The daemon's socket; "" for none of the caller's own.
    """

    star: str
    strict: bool = False
    keep_volumes: bool = False
    socket: str = ""


def read(arguments: Sequence[str]) -> Arguments:
    """Read the arguments of the program; ends it with status 2, or 0 after `--help`, where there is no call in them."""
    # RELION gives exactly one argument; everything else is worth the time of an argument parser.
    if len(arguments) == 1 and not arguments[0].startswith("-"):
        return Arguments(arguments[0] if os.path.exists(arguments[0]) else find_star(arguments) or arguments[0])
    return _parse(_rejoined(arguments))


def find_star(words: Sequence[str]) -> str | None:
    """Find the file that a shell made these words of; of several the one written last, as RELION has just done.

    None when there is no such file.
    """
    parts = " ".join(words).split("/")
    candidates = ["/"] if parts[0] == "" and len(parts) > 1 else [""]
    for part in parts:
        candidates = [os.path.join(folder, name) for folder in candidates for name in _names_like(folder, part)]
    files = [path for path in candidates if os.path.isfile(path)]
    return max(files, key=lambda path: os.stat(path).st_mtime_ns, default=None)


def _names_like(folder: str, part: str) -> Iterator[str]:
    """The entries of a folder of which a shell, quoting nothing, would make this part of a path."""
    if part in {"", ".", ".."}:
        yield part
        return
    try:
        entries = os.listdir(folder or ".")
    except OSError:
        return
    wanted = _through_shell(part)
    yield from (entry for entry in entries if _through_shell(entry) == wanted)


def _through_shell(name: str) -> str:
    return " ".join(name.translate(_TAKEN_BY_SHELL).split())


def _rejoined(arguments: Sequence[str]) -> list[str]:
    """The arguments with the pieces of the STAR file's name as one, where that names a file; else as they are."""
    first = 0
    while first < len(arguments) and arguments[first].startswith("-"):
        first += 2 if arguments[first] == "--socket" else 1
    star = find_star(arguments[first:]) if first < len(arguments) else None
    return [*arguments[:first], "--", star] if star is not None else list(arguments)


def _parse(arguments: list[str]) -> Arguments:
    import argparse

    parser = argparse.ArgumentParser(
        prog="cryobridge-relion",
        description="RELION runs this for every half-map and iteration when "
        "RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE=cryobridge-relion and relion_refine has --external_reconstruct.",
        epilog="Settings come from cryobridge.yaml in the job folder and from CRYOBRIDGE_* and ISONET_* variables.",
    )
    parser.add_argument("star", help="<root>_itNNN_..._external_reconstruct.star, as RELION names it")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a failure forces the standard map")
    parser.add_argument("--keep-volumes", action="store_true", help="do not delete RELION's padded input volumes")
    parser.add_argument("--socket", help="the daemon's socket (default: $CRYOBRIDGE_SOCKET, yours, the system's)")
    parser.add_argument("--version", action="version", version=f"cryobridge-relion {__version__}")
    found = parser.parse_args(arguments)
    return Arguments(str(found.star), bool(found.strict), bool(found.keep_volumes), str(found.socket or ""))
