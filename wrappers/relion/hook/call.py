"""The files of one call: what its STAR names, what lies around it, and their open descriptors.

Reads text in a bounded way and opens; what the numbers mean is the daemon's business.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from cryobridge.schemas.values import FixedValues, Values

from .names import CallName, base_root, optimiser_of, parse_call

STAR_BYTES = 256 * 1024
_LARGEST_BOX = 4096


class TooLargeError(OSError):
    """A file is larger than what it should hold can be."""


class CallInvalidError(Exception):
    """The STAR file is not one that the bridge can work on; the message says why."""


class Call(FixedValues):
    """One call as its STAR file describes it.

    Attributes
    ----------
    star
        The STAR file as RELION named it.
    result, result_star
        Where RELION reads the map back, and where it would read an optional table.
    box
        Voxels along an edge of the map.
    dimensions
        3 for volumes, 2 for two-dimensional references.
    """

    name: CallName
    star: str
    data_real: str
    data_imag: str
    weight: str
    result: str
    result_star: str
    box: int
    dimensions: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) of the map that RELION expects."""
        return (self.box if self.dimensions == 3 else 1, self.box, self.box)

    @property
    def inputs(self) -> tuple[str, str, str]:
        """The three padded volumes."""
        return (self.data_real, self.data_imag, self.weight)

    @property
    def folder(self) -> str:
        """The folder of the result."""
        return os.path.dirname(self.result)


def read_text(path: str, limit_bytes: int = STAR_BYTES) -> str:
    """Read the beginning of a regular file as text; all that is looked for in RELION's files stands there.

    Raises
    ------
    OSError
        If it cannot be opened, or is not a regular file.
    """
    fd = open_regular(path)
    with open(fd, "rb") as file:
        return file.read(limit_bytes).decode("utf-8", "replace")


def read_whole_text(path: str, limit_bytes: int) -> str:
    """Read a regular file as text, all of it.

    Raises
    ------
    TooLargeError
        If it is larger than the limit: what is cut must not be taken for the whole.
    OSError
        If it cannot be opened, or is not a regular file.
    """
    fd = open_regular(path)
    with open(fd, "rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise TooLargeError(errno.EINVAL, f"larger than {limit_bytes} bytes", path)
    return data.decode("utf-8", "replace")


def open_regular(path: str) -> int:
    """Open a regular file for reading; refuses devices and pipes, which could block for ever."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(22, "not a regular file", path)
    return fd


def list_items(text: str) -> dict[str, str]:
    """The `_rlnName value` pairs of a STAR file's list tables; loops are passed over."""
    items: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split(None, 1)
        if len(words) == 2 and words[0].startswith("_") and not words[1].startswith("#"):
            value = words[1].strip()
            if value[:1] in {'"', "'"}:
                value = value[1:].partition(value[0])[0]
            items.setdefault(words[0][1:], value)
    return items


def read_call(star: str) -> Call:
    """Read RELION's STAR file of a call.

    Raises
    ------
    CallInvalidError
        If the name or the content is not that of an external reconstruction.
    """
    name = parse_call(star)
    if name is None:
        raise CallInvalidError(f"{star} is not named like an external reconstruction of RELION")
    try:
        items = list_items(read_text(star))
    except OSError as error:
        raise CallInvalidError(f"{star} cannot be read ({error.strerror})") from error
    try:
        box = int(items["rlnOriginalImageSize"])
        call = Call(
            name=name,
            star=star,
            data_real=items["rlnExtReconsDataReal"],
            data_imag=items["rlnExtReconsDataImag"],
            weight=items["rlnExtReconsWeight"],
            result=items["rlnExtReconsResult"],
            result_star=items.get("rlnExtReconsResultStarfile", ""),
            box=box,
            dimensions=int(items.get("rlnReferenceDimensionality", "3")),
        )
    except KeyError as error:
        raise CallInvalidError(f"{star} lacks _{error.args[0]}") from error
    except ValueError as error:
        raise CallInvalidError(f"{star} holds a value that is not a whole number ({error})") from error
    if not 0 < box <= _LARGEST_BOX or call.dimensions not in {2, 3}:
        raise CallInvalidError(f"{star} asks for a box of {box} in {call.dimensions} dimensions")
    return call


class Surroundings(Values):
    """What RELION left of the iterations before, as paths; a file that is not there is not listed.

    Attributes
    ----------
    paths
        By the names that descriptors have on the wire ("mask", "optimiser", "sampling", ...).
    command
        RELION's command line, from the second line of its optimiser files; "" when unknown.
    """

    paths: dict[str, str]
    command: str = ""

    @property
    def sequential(self) -> bool:
        """Whether RELION calls half 2 only after half 1 has returned, so that nothing may wait for both."""
        return "--sequential_halves_recons" in self.command.split()


def look_around(name: CallName) -> Surroundings:
    """Find the files of the previous iteration and of the start that belong to a call."""
    found = Surroundings({})
    start = optimiser_of(name, 0)
    previous = optimiser_of(name, name.iteration - 1) if name.iteration > 1 else start
    if start is not None:
        found.paths["optimiser_start"] = start
    if previous is not None:
        found.paths["optimiser"] = previous
        _follow(previous, name, found)
    elif start is not None:
        found.command = _command_line(_text_or_nothing(start))
    for half in (1, 2) if name.half else ():
        tag = f"_it000_half{half}_{name.kind}{name.number:03d}.mrc"
        for root in (name.root, base_root(name.root)):
            path = name.beside(root + tag)
            if os.path.exists(path):
                found.paths[f"reference_start.{half}"] = path
                break
    return found


def _follow(optimiser: str, name: CallName, found: Surroundings) -> None:
    """Take the files that an optimiser file names; its paths are relative to RELION's current folder."""
    text = _text_or_nothing(optimiser)
    found.command = _command_line(text)
    items = list_items(text)
    wanted = {
        "mask": "rlnSolventMaskName",
        "sampling": "rlnOrientSamplingStarFile",
        "model": "rlnModelStarFile2" if name.half == 2 else "rlnModelStarFile",
        "data": "rlnExperimentalDataStarFile",
    }
    for key, label in wanted.items():
        path = items.get(label, "None")
        if path == "None" or not path:
            continue
        # A project that was moved: the file still lies beside the optimiser file.
        beside = os.path.join(os.path.dirname(optimiser), os.path.basename(path))
        for candidate in (path,) if key == "mask" else (path, beside):
            if os.path.isfile(candidate):
                found.paths[key] = candidate
                break


def _text_or_nothing(path: str) -> str:
    with contextlib.suppress(OSError):
        return read_text(path)
    return ""


def _command_line(text: str) -> str:
    lines = text.split("\n", 2)
    return lines[1].lstrip("# ").strip() if len(lines) > 1 and lines[1].startswith("#") else ""


class Descriptors:
    """Descriptors to send, under the names they have on the wire. Owns those it opened, not those lent to it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.fds: list[int] = []
        self._owned: list[int] = []

    def open(self, name: str, path: str) -> None:
        """Open a file for reading; one that cannot be opened is left out, and the daemon sees that."""
        with contextlib.suppress(OSError):
            self.take(name, open_regular(path))

    def lend(self, name: str, fd: int) -> None:
        """Add a descriptor that stays the caller's."""
        self.names.append(name)
        self.fds.append(fd)

    def take(self, name: str, fd: int) -> None:
        """Add a descriptor that is closed with those opened here."""
        self._owned.append(fd)
        self.lend(name, fd)

    def close(self) -> None:
        """Close what was opened or taken here."""
        while self._owned:
            os.close(self._owned.pop())
        self.names.clear()
        self.fds.clear()


def open_inputs(call: Call, half: int, descriptors: Descriptors) -> None:
    """Open a call's STAR and padded volumes as half1.star, half1.data_real, ..."""
    descriptors.open(f"half{half}.star", call.star)
    descriptors.open(f"half{half}.data_real", call.data_real)
    descriptors.open(f"half{half}.data_imag", call.data_imag)
    descriptors.open(f"half{half}.weight", call.weight)


def remove_quietly(*paths: str) -> None:
    """Delete files that may or may not be there."""
    for path in paths:
        if path:
            with contextlib.suppress(OSError):
                os.unlink(path)
