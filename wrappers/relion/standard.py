"""One standard map in a process of its own: the hook's last resort without a daemon or RELION's own program.

    python -I -m cryobridge.wrappers.relion.standard STAR --output PATH [--style stock|relion3|relion5]

Unlike `relion_external_reconstruct`, which ends with status 0 on a truncated volume, a NaN or a full disk, this writes
a whole map or none. Exit status: 0 with the map in place; 1 with one sentence on standard error; 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import torch

from cryobridge.core.relion import STYLES, Style, reconstruct
from cryobridge.schemas.errors import CryobridgeError

from ..formats import mrc
from . import sums

EXIT_OK, EXIT_FAILED = 0, 1

_log = logging.getLogger(__name__)


def make_standard_map(star_path: str, output: str, style: Style | None = None, *, regularised: bool = True) -> Style:
    """Reconstruct a call and write its map under `output`, whole or not at all.

    Parameters
    ----------
    star_path
        `<root>_itNNN[_halfH]_classKKK_external_reconstruct.star`.
    output
        Where the map goes.
    style
        Whose reconstruction; that of the calling RELION when None.
    regularised
        False leaves the prior out.

    Returns
    -------
    Style
        The style used.

    Raises
    ------
    InputInvalid
        If the call's files are missing, cut off, not finite or do not belong together.
    OSError
        If the map cannot be written.
    ValueError
        If the map is not finite.
    """
    call = sums.read_call(star_path)
    description = call.description
    used: Style = style or description.style
    volume = reconstruct(
        call.data,
        call.weight,
        description.geometry,
        description.tau2,
        fudge=description.fudge,
        style=used,
        regularised=regularised,
    )
    mrc.write_atomically(output, volume.numpy(), description.pixel_size_A or 1.0)
    return used


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m cryobridge.wrappers.relion.standard", description=__doc__)
    parser.add_argument("star", help="the call's STAR file")
    parser.add_argument("--output", required=True, help="the map to write")
    parser.add_argument("--style", choices=sorted(STYLES), help="default: that of the calling RELION")
    parser.add_argument("--no-map", action="store_true", help="leave the prior out (RELION's _unfil.mrc)")
    parser.add_argument("--threads", type=int, help="threads to use; all processors by default")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(max(1, options.threads))
    logging.basicConfig(format="cryobridge: %(message)s", stream=sys.stderr)
    try:
        make_standard_map(options.star, options.output, options.style, regularised=not options.no_map)
    except CryobridgeError as error:
        _log.error("%s", error)
    except MemoryError:
        _log.error("%s: not enough memory to reconstruct", options.star)
    except OSError as error:
        _log.error("%s: cannot be written (%s)", options.output, error.strerror)
    except (ValueError, RuntimeError) as error:  # torch reports its lack of memory as RuntimeError
        _log.error("%s: %s", options.star, " ".join(str(error).split()))
    else:
        return EXIT_OK
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
