"""The standard map without a daemon: RELION's own tool, else ours in a fresh process. Whole and finite, or not at all.

RELION's tool writes straight to the name it is given and ends with status 0 on a full disk, on truncated input
and after making a map of NaN. So it works on a copy of the STAR file that names a temporary result, and what it
wrote is checked before it gets its final name.
"""

from __future__ import annotations

import contextlib
import os
import sys

from .call import STAR_BYTES, Call, read_whole_text, remove_quietly
from .mapcheck import MapError, check_map, expected_size
from .outputs import OutputFile, hidden, is_full, unique

STOCK = "relion_external_reconstruct"
_MEMORY_FOLDER = "/dev/shm"  # noqa: S108 - names in it are random and made with O_EXCL


class StandardFailedError(Exception):
    """Neither tool made a map. `status` is what the hook should exit with."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


class _NoRoomError(Exception):
    """The tool ran out of disk."""


def make_standard(call: Call, *, inputs_are_bad: bool = False) -> OutputFile:
    """Make the standard map of a call.

    Parameters
    ----------
    call
        What RELION asks for.
    inputs_are_bad
        The daemon has found the inputs invalid: only RELION's own tool is tried, so that RELION gets what it
        would have got without us.

    Raises
    ------
    StandardFailedError
        If no tool makes a whole, finite map.
    """
    failures: list[StandardFailedError] = []
    makers = [_stock] if inputs_are_bad else [_stock, _ours]
    for maker in makers:
        for folder in (call.folder, _MEMORY_FOLDER):
            try:
                return maker(call, folder)
            except _NoRoomError:
                failures.append(StandardFailedError("the disk is full"))
            except StandardFailedError as error:
                failures.append(error)
                break
    status = next((error.status for error in failures if error.status > 0), 1)
    raise StandardFailedError("; ".join(dict.fromkeys(str(error) for error in failures)), status)


def run_stock_as_it_is(star: str) -> int:
    """Run RELION's tool on a STAR file that the hook cannot read, with whatever comes of it.

    Raises
    ------
    StandardFailedError
        If it is not installed.
    """
    return _run([_find_stock(), star])


def _stock(call: Call, folder: str) -> OutputFile:
    program = _find_stock()
    stem = f"{call.name.stem}.{unique()}"
    result, table, star = (os.path.join(folder, hidden(f"{stem}{end}")) for end in (".mrc", "_out.star", ".star"))
    try:
        _redirect_star(call, star, result, table)
    except OSError as error:
        if is_full(error):
            raise _NoRoomError from error
        raise StandardFailedError(f"{STOCK} cannot be run in {folder or '.'} ({error.strerror})") from error
    try:
        return _made(call, [program, star], result, STOCK)
    finally:
        remove_quietly(star, table)


def _ours(call: Call, folder: str) -> OutputFile:
    result = os.path.join(folder, hidden(f"{call.name.stem}.{unique()}.mrc"))
    program = [sys.executable, "-I", "-m", "cryobridge.wrappers.relion.standard"]
    # It stands in for RELION's tool, so it makes that tool's map.
    command = [*program, call.star, "--output", result, "--style", "stock"]
    return _made(call, command, result, "cryobridge's own reconstruction")


def _made(call: Call, command: list[str], result: str, who: str) -> OutputFile:
    """Run a tool that writes `result`, and take the map if it is good."""
    try:
        status = _run(command)
        if status != 0:
            if _is_short_of_room(call, result):
                raise _NoRoomError
            raise StandardFailedError(f"{who} ended with status {status}", status)
        fd = os.open(result, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        remove_quietly(result)
        raise StandardFailedError(f"{who} made no map ({error.strerror})") from error
    except BaseException:
        remove_quietly(result)
        raise
    output = OutputFile(fd, result)
    try:
        check_map(fd, call.shape, header_statistics=False)
    except MapError as error:
        short = _is_short_of_room(call, result)
        output.discard()
        if short:
            raise _NoRoomError from error
        raise StandardFailedError(f"{who} made no usable map: {error}") from error
    if os.path.dirname(result) == _MEMORY_FOLDER:
        # Another file system: it can only be copied, which an Output without a name does.
        remove_quietly(result)
        output.path = None
    return output


def _is_short_of_room(call: Call, result: str) -> bool:
    """Whether the folder has no room for what is missing of the map."""
    with contextlib.suppress(OSError):
        there = os.stat(result).st_size if os.path.exists(result) else 0
        state = os.statvfs(os.path.dirname(result) or ".")
        return there + state.f_bavail * state.f_frsize < expected_size(call.shape)
    return False


def _redirect_star(call: Call, path: str, result: str, table: str) -> None:
    """Write a copy of the STAR file with other result names."""
    lines = []
    for line in read_whole_text(call.star, STAR_BYTES).splitlines(keepends=True):
        words = line.split(None, 1)
        if words and words[0] == "_rlnExtReconsResult":
            lines.append(f"_rlnExtReconsResult {_as_value(result)}\n")
        elif words and words[0] == "_rlnExtReconsResultStarfile":
            lines.append(f"_rlnExtReconsResultStarfile {_as_value(table)}\n")
        else:
            lines.append(line)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write("".join(lines))
    except OSError:
        remove_quietly(path)
        raise


def _as_value(path: str) -> str:
    """A path as RELION writes it into a STAR file: in quotes where it has blanks."""
    return f'"{path}"' if any(character.isspace() for character in path) else path


def _find_stock() -> str:
    import shutil

    program = shutil.which(STOCK)
    if program is None:
        raise StandardFailedError(f"{STOCK} is not on PATH")
    return program


def _run(command: list[str]) -> int:
    """Run a tool whose messages go to RELION's log; a death by signal N is 128 + N, as in the shell."""
    # Imported here only: most calls need no other program.
    import subprocess

    try:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        raise StandardFailedError(f"{command[0]} cannot be started ({error.strerror})") from error
    return status if status >= 0 else 128 - status
