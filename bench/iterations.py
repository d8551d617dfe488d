"""Whole iterations through hook, daemon and worker: the first one, warm ones, and one after the daemon was killed.

    python bench/iterations.py [--steps 60]

Every iteration trains the same number of steps on the same size of problem, so what differs is what a resident
process saves: starting, importing, and finding the network again. Uses its own daemon and folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from cryobridge.schemas.wire import peer_uid
from cryobridge.wrappers.relion.demo import refinement
from cryobridge.wrappers.relion.demo.particles import Recipe, simulate

NAMES = (
    "first: daemon and worker start, network anew",
    "second: warm from memory",
    "third, after kill -9 of the daemon: warm from disk",
    "fourth: warm from memory",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()
    particles = simulate(Recipe(box=40, pixel_size_A=3.6, n_particles=400, signal_to_noise=1.0))
    with tempfile.TemporaryDirectory(prefix="cryobridge-bench-") as name:
        folder = Path(name)
        address = folder / "daemon" / "socket"
        environment = {
            "CRYOBRIDGE_SOCKET": str(address),
            "CRYOBRIDGE_STEPS": str(arguments.steps),
            "CRYOBRIDGE_WARM_STEPS": str(arguments.steps),
            "ISONET_START_HEALPIX": "0",
            "ISONET_START_RESOLUTION": "99",
        }
        project = folder / "project"
        refinement.prepare(project, particles)
        hook = [str(Path(sys.executable).with_name("cryobridge-relion"))]
        seconds: list[float] = []
        try:
            stages = (refinement.Stage(3, 2.0),) * len(NAMES)
            for done, title in zip(
                refinement.refine(project, particles, hook, environment, stages), NAMES, strict=True
            ):
                if not done.corrected:
                    raise SystemExit(f"iteration {done.number} was not corrected:\n{done.log}")
                seconds.append(done.seconds)
                print(f"{title:52s} {done.seconds:6.1f} s, ratio to the first {done.seconds / seconds[0]:.2f}")
                if done.number == 2:
                    _kill(address)
        finally:
            _kill(address)


def _kill(address: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(address))
        except OSError:
            return
        os.kill(peer_uid(client)[0], signal.SIGKILL)


if __name__ == "__main__":
    main()
