"""`cryobridge-relion`: what RELION runs once per half-map per iteration instead of its own reconstruction.

Set `RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE=cryobridge-relion` and give relion_refine `--external_reconstruct`.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from cryobridge import __version__
from cryobridge.schemas import wire

from . import answer
from .runlog import say
from .standard import StandardFailedError, run_stock_as_it_is


def main(argv: list[str] | None = None) -> int:
    """Answer one call; returns the exit status for RELION."""
    arguments = sys.argv[1:] if argv is None else argv
    environment = dict(os.environ)
    strict = keep_volumes = False
    # RELION gives exactly one argument; everything else is worth the time of an argument parser.
    if len(arguments) != 1 or arguments[0].startswith("-"):
        options = _parse(arguments)
        star, strict, keep_volumes = str(options["star"]), bool(options["strict"]), bool(options["keep_volumes"])
        if options["socket"]:
            environment["CRYOBRIDGE_SOCKET"] = str(options["socket"])
    else:
        star = arguments[0]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        return answer.answer(star, environment, strict=strict, keep_volumes=keep_volumes)
    except Exception as error:  # noqa: BLE001 - the outermost boundary: a bug of ours must not end a refinement
        return _after_a_bug(star, error)


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


def _parse(arguments: list[str]) -> dict[str, object]:
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
    return vars(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
