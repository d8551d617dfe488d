"""`python -m cryobridge.bridge.worker --fd N --device D`: the worker process of one device, started by the daemon."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import time

from cryobridge.schemas.wire import Channel
from cryobridge.schemas.worker_messages import WorkerReady


def main() -> int:
    """Connect to the daemon over the inherited socket and serve until told to stop."""
    parser = argparse.ArgumentParser(prog="cryobridge worker", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="inherited socket to the daemon")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N or cuda:UUID")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: all this process may use)")
    parser.add_argument("--keep", action="store_true", help="leave on the device what the next call needs")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s worker %(name)s %(message)s")

    started = time.monotonic()
    if arguments.device.startswith("cuda:GPU-"):
        # A UUID survives renumbering; it must be chosen before CUDA starts.
        os.environ["CUDA_VISIBLE_DEVICES"] = arguments.device.removeprefix("cuda:")
        arguments.device = "cuda:0"
    # Threads that spin while they wait make every step many times slower where others use the cores too, as
    # RELION's waiting ranks do. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from .loop import WorkerLoop
    from .service import Service

    device = torch.device(arguments.device)
    torch.set_num_threads(arguments.threads or len(os.sched_getaffinity(0)))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    service = Service(device, keeps=arguments.keep)
    loop = WorkerLoop(Channel(socket.socket(fileno=arguments.fd)), service.handlers(), service.parking)
    start_s = round(time.monotonic() - started, 3)
    loop.run(WorkerReady(pid=os.getpid(), device=arguments.device, device_name=name, start_s=start_s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
