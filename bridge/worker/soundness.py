"""Whether a process can be trusted after an error: not where a module was broken off while it was loaded.

Parts of it stay behind, and everything that needs it fails from then on, however much memory there is by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

EXIT_UNSOUND = 70
"""The exit status of a process that ends for this."""
_BODY = "<module>"
"""What Python calls the code of a module itself in a traceback."""


def broke_off_an_import(error: BaseException) -> bool:
    """Whether an error, or one that led to it, came out of the body of a module.

    A module that is not there breaks nothing off that would be whole another time.
    """
    return any(
        frame.tb_frame.f_code.co_name == _BODY
        for one in _chain(error)
        if not isinstance(one, ModuleNotFoundError)
        for frame in _frames(one.__traceback__)
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next
