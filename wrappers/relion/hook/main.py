"""`cryobridge-relion`: what RELION runs once per half-map per iteration instead of its own reconstruction.

Set `RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE=cryobridge-relion` and give relion_refine `--external_reconstruct`.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from cryobridge.schemas import wire

from . import answer, arguments
from .processes import Lineage
from .runlog import say
from .standard import StandardFailedError, run_stock_as_it_is


def main(argv: list[str] | None = None) -> int:
    """Answer one call; returns the exit status for RELION."""
    lineage = Lineage()
    called = arguments.read(sys.argv[1:] if argv is None else argv)
    environment = dict(os.environ)
    if called.socket:
        environment["CRYOBRIDGE_SOCKET"] = called.socket
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    lineage.watch()
    try:
        return answer.answer(called.star, environment, lineage, strict=called.strict, keep_volumes=called.keep_volumes)
    except Exception as error:  # noqa: BLE001 - the outermost boundary: a bug of ours must not end a refinement
        return _after_a_bug(called.star, error)


def _stop(number: int, frame: FrameType | None) -> None:
    """End at once; the temporary files are removed on the way out."""
    raise SystemExit(128 + number)


def _after_a_bug(star: str, error: Exception) -> int:
    """RELION's own tool straight on the call, which needs nothing of this package."""
    say(f"standard map (RELION's own): an error in cryobridge itself ({type(error).__name__}: {error})")
    try:
        return run_stock_as_it_is(star)
    except StandardFailedError as failure:
        say(f"no map: {failure}")
        return wire.EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
