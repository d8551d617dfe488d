"""A pickle is a program. This runs one with no more than what a subclass gives it, and never imports a name.

What a program may call are bound methods of the subclass, which it cannot change as it could a function or a class.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

BROKEN_PICKLE = (
    pickle.UnpicklingError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a senseless program ends in."""


def _with_plain_keys(load: Callable[[Any], None], first: int, step: int) -> Callable[[PickleProgram], None]:
    """Load with keys that cost nothing to look up: a tuple of tuples, each of them twice, would take for ever."""

    def loaded(self: PickleProgram) -> None:
        stack: list[Any] = vars(self)["stack"]
        expect_plain(stack[first::step])
        load(self)

    return loaded


def _load_bytearray(self: PickleProgram) -> None:
    """Load bytes that are there: Python's own takes the memory that is announced before it reads."""
    inner: Any = self
    (size,) = struct.unpack("<Q", inner.read(8))
    raw = inner.read(size) if size <= inner.most_bytes else b""
    if len(raw) != size:
        raise pickle.UnpicklingError("fewer bytes than announced")
    inner.append(bytearray(raw))


def _build(self: PickleProgram) -> None:
    """Set a state only on what takes one: Python's own writes into anything that has a table of names."""
    inner: Any = self
    if "__setstate__" not in vars(type(inner.stack[-2])):
        raise pickle.UnpicklingError("a state of what has none")
    pickle._Unpickler.dispatch[pickle.BUILD[0]](inner)


class PickleProgram(pickle._Unpickler):
    """Runs one pickle of a file; a subclass says what names mean."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.BUILD[0]: _build,
        **{
            code[0]: _with_plain_keys(pickle._Unpickler.dispatch[code[0]], first, step)
            for code, first, step in (
                (pickle.SETITEM, -2, 2),
                (pickle.SETITEMS, 0, 2),
                (pickle.DICT, 0, 2),
                (pickle.ADDITEMS, 0, 1),
                (pickle.FROZENSET, 0, 1),
            )
        },
    }

    def __init__(self, file: io.BytesIO) -> None:
        # Files of Python 2 hold bytes as text.
        super().__init__(file, encoding="latin-1")
        self.most_bytes = len(file.getbuffer())

    def find_class(self, module: str, name: str) -> Any:
        """Nothing, in the base."""
        raise pickle.UnpicklingError(f"{module}.{name}")


def check_memo(program: bytes) -> None:
    """Refuse a place in the unpickler's memory that no program of this length needs: it would be made up to there."""
    for operation, place, _ in pickletools.genops(program):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and (place is None or not 0 <= place <= len(program)):
            raise pickle.UnpicklingError("a place out of reach")


def expect_plain(keys: Iterable[object]) -> None:
    """Refuse keys of tables that are neither text nor numbers."""
    if not all(key is None or isinstance(key, str | int | float) for key in keys):
        raise pickle.UnpicklingError("a key that is no name")
