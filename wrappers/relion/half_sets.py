"""Which particle is in which half-set, as a digest of RELION's particle file.

RELION divides the particles once, at the start of a refinement, and never again, `--continue` included; but it sorts
the rows of `_itNNN_data.star` as it likes. So the digest is a sum over rows, which knows no order. The file is read in
pieces, because it holds half a kilobyte for each particle, and of a row nothing is looked at beyond the two columns
that count.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from cryobridge.schemas.errors import InputInvalid

MAX_BYTES = 16 << 30
"""More than twenty million particles; reading so much takes two minutes."""

_PIECE_BYTES = 4 << 20
_LONGEST_LINE = 1 << 20
_DIGEST_BYTES = 16
_SUBSET = b"_rlnRandomSubset"
_NAMES = (b"_rlnImageName", b"_rlnTomoParticleName")
"""What a particle is called: the first of these that the table has."""
_WORD = re.compile(rb""""[^"]*"|'[^']*'|\S+""")


@dataclass(frozen=True)
class HalfSets:
    """The division of a set of particles into halves; equal for equal divisions, in whatever order they are written.

    Attributes
    ----------
    digest
        Of who is in half 1 and who in half 2.
    names
        Of the names alone: equal where only the division has changed.
    particles
        How many are in half 1 and in half 2.
    """

    digest: str
    names: str
    particles: tuple[int, int]


def read_half_sets(fd: int, name: str) -> Generator[None, None, HalfSets]:
    """Read who is in which half-set, from the start of an open `_data.star`, whose position is not changed.

    Yields after every few megabytes, so that a caller can do something else in between; about four seconds of work for
    a million particles.

    Raises
    ------
    InputInvalid
        If the file cannot be read, is cut off, has no table with subsets and particle names, or is larger than
        `MAX_BYTES`.
    """
    try:
        size = os.fstat(fd).st_size
        if size > MAX_BYTES:
            raise InputInvalid(f"{name}: {size >> 30} GB are too much to read in every iteration")
        table = _ParticleTable(name)
        rest = b""
        for piece in _pieces(fd):
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                raise InputInvalid(f"{name}: has a line of more than {_LONGEST_LINE >> 20} MB; it is no STAR file")
            table.take(lines)
            yield
    except OSError as error:
        raise InputInvalid(f"{name}: cannot be read ({error.strerror})") from error
    if rest:
        raise InputInvalid(f"{name}: ends within a line; it was cut off")
    return table.half_sets()


def _pieces(fd: int) -> Iterator[bytes]:
    offset = 0
    while piece := os.pread(fd, _PIECE_BYTES, offset):
        offset += len(piece)
        yield piece


@dataclass
class _ParticleTable:
    """The tables of a file as its lines come; adds up the rows of the one that has both columns.

    As in RELION, a table's rows end with the first blank line.
    """

    name: str
    labels: list[bytes] = field(default_factory=list)
    in_head: bool = False
    in_rows: bool = False
    name_at: int = -1
    subset_at: int = -1
    sums: list[int] = field(default_factory=lambda: [0, 0])
    counts: list[int] = field(default_factory=lambda: [0, 0])

    def take(self, lines: list[bytes]) -> None:
        """Take the next whole lines."""
        begin = 0
        while begin < len(lines):
            if self.in_rows:
                begin = self._rows(lines, begin)
            else:
                self._head(lines[begin])
                # The line that ends a head is the first row.
                begin += not self.in_rows

    def half_sets(self) -> HalfSets:
        """What has been added up."""
        if not all(self.counts):
            raise InputInvalid(f"{self.name}: has no table that says which particle is in which half-set")
        halves = " ".join(_hexadecimal(*half) for half in zip(self.sums, self.counts, strict=True))
        names = _hexadecimal(sum(self.sums), sum(self.counts))
        return HalfSets(halves, names, (self.counts[0], self.counts[1]))

    def _head(self, line: bytes) -> None:
        words = line.split(None, 1)
        if not words or words[0].startswith(b"#"):
            return
        if words[0] == b"loop_":
            self.labels, self.in_head = [], True
        elif words[0].startswith(b"data_") and len(words) == 1:
            self.in_head = False
        elif self.in_head and words[0].startswith(b"_"):
            self.labels.append(words[0])
        elif self.in_head:
            self.in_head = False
            names = [label for label in _NAMES if label in self.labels]
            if names and _SUBSET in self.labels:
                self.name_at, self.subset_at = self.labels.index(names[0]), self.labels.index(_SUBSET)
                self.in_rows = True

    def _rows(self, lines: list[bytes], begin: int) -> int:
        """Add up rows from line `begin` on; return the number of the first line that is none."""
        name_at, subset_at = self.name_at, self.subset_at
        last = max(name_at, subset_at)
        names: tuple[list[bytes], list[bytes]] = [], []
        for number in range(begin, len(lines)):
            line = lines[number]
            quoted = b'"' in line or b"'" in line
            words = [word.strip(b"\"'") for word in _WORD.findall(line)] if quoted else line.split(None, last + 1)
            if not words:
                self.in_rows = False
                end = number + 1
                break
            if len(words) <= last:
                raise InputInvalid(f"{self.name}: a row has too few columns; the file was cut off")
            subset = words[subset_at]
            if subset not in (b"1", b"2"):
                raise InputInvalid(f"{self.name}: a particle is in half-set '{subset[:20].decode(errors='replace')}'")
            names[subset == b"2"].append(words[name_at])
        else:
            end = len(lines)
        for half, some in enumerate(names):
            self.counts[half] += len(some)
            self.sums[half] += _sum(some)
        return end


def _hexadecimal(total: int, count: int) -> str:
    return f"{total % 2 ** (8 * _DIGEST_BYTES):032x}-{count}"


def _sum(names: list[bytes]) -> int:
    """Sum of the digests of some names: a name that stands twice counts twice, where XOR would forget both."""
    digest, number = hashlib.blake2b, int.from_bytes
    return sum(number(digest(name, digest_size=_DIGEST_BYTES).digest(), "little") for name in names)
