"""What one call of the hook costs beside the daemon's work: process start to exit, the daemon answering at once.

    python bench/hook.py [--calls 40] [--box 64] [--json]

A stand-in for the daemon sends a map that it has made before. Subtracted from each call: the time from the call's
arrival there to its last frame (the daemon's share). What remains is interpreter start, finding the daemon, opening
and checking files, renaming and deleting. The first call, which compiles what is not compiled, does not count. The
goal is a median of at most 60 ms at box 64 on two quiet cores.
"""

import argparse
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

import numpy as np

from cryobridge.schemas import wire

GOAL_S = 0.060


def map_bytes(box):
    values = np.random.default_rng(0).standard_normal((box, box, box)).astype("<f4")
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, box, box, box, 2)
    struct.pack_into("<3f", header, 76, values.min(), values.max(), values.mean())
    struct.pack_into("<f", header, 216, values.std())
    return bytes(header) + values.tobytes()


class Standin(threading.Thread):
    """Answers every call with the same map and notes how long each took here."""

    def __init__(self, path, box):
        super().__init__(daemon=True)
        self.data = map_bytes(box)
        self.crc32 = zlib.crc32(self.data)
        self.shares_s = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()

    def run(self):
        """Serve one call after the other, for ever."""
        while True:
            channel = wire.Channel(self.listener.accept()[0])
            channel.receive()
            channel.send(
                {"type": "welcome", "protocol": wire.PROTOCOL, "version": "0", "daemon_id": "x", "state": "ready"}
            )
            call = channel.receive()
            began = time.perf_counter()
            half = call.message["halves"][0]
            fd = call.fds[call.message["fd_names"].index(f"half{half}.standard")]
            os.pwrite(fd, self.data, 0)
            channel.send({"type": "standard", "half": half, "size": len(self.data), "crc32": self.crc32, "seconds": 0})
            channel.send({"type": "answer", "half": half, "code": "not_due", "line": "bench"})
            self.shares_s.append(time.perf_counter() - began)
            call.close()
            channel.receive()
            channel.close()


def write_call(folder, box):
    """A call of iteration 10 with empty sums; only names and sizes matter here."""
    base = "run_it010_half1_class001_external_reconstruct"
    padded = 2 * box
    for part in ("data_real", "data_imag", "weight"):
        with (folder / f"{base}_{part}.mrc").open("wb") as file:
            file.truncate(1024 + 4 * padded * padded * (padded // 2 + 1))
    items = {
        "DataReal": f"{base}_data_real.mrc",
        "DataImag": f"{base}_data_imag.mrc",
        "Weight": f"{base}_weight.mrc",
        "Result": f"{base}.mrc",
        "ResultStarfile": f"{base}_out.star",
    }
    lines = [f"_rlnExtRecons{key} {value}" for key, value in items.items()]
    lines += [f"_rlnOriginalImageSize {box}", "_rlnReferenceDimensionality 3"]
    (folder / f"{base}.star").write_text("data_external_reconstruct_general\n\n" + "\n".join(lines) + "\n")
    return f"{base}.star"


def measure(calls, box):
    command = Path(sys.executable).with_name("cryobridge-relion")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        standin = Standin(folder / "socket", box)
        standin.start()
        environment = os.environ | {"CRYOBRIDGE_SOCKET": str(folder / "socket")}
        # An installed package is compiled; without this, each call here could compile the hook's modules anew.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        totals_s = []
        for _ in range(1 + calls):
            star = write_call(folder, box)
            began = time.perf_counter()
            subprocess.run([command, star], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
            totals_s.append(time.perf_counter() - began)
        return [total - share for total, share in zip(totals_s, standin.shares_s, strict=True)][1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--box", type=int, default=64, help="voxels along an edge of the map")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    overheads_s = sorted(measure(arguments.calls, arguments.box))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {
        "calls": arguments.calls,
        "box": arguments.box,
        "median_ms": round(1000 * statistics.median(overheads_s), 1),
        "p90_ms": round(1000 * overheads_s[int(0.9 * (len(overheads_s) - 1))], 1),
        "max_ms": round(1000 * overheads_s[-1], 1),
        # Of the processor, so it does not depend on what else runs on the machine.
        "cpu_ms": round(1000 * (used.ru_utime + used.ru_stime) / arguments.calls, 1),
        "load": os.getloadavg()[0],
        "reached": statistics.median(overheads_s) <= GOAL_S,
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{key}: {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
