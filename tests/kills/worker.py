"""A worker without torch whose maps and jobs are quick and always the same.

Maps come from the folder that `CRYOBRIDGE_FAKE_MAPS` names. A job is a chain of hashes of its kind and options, some
steps long, with a checkpoint after each; so one that was broken off and resumed shows whether it went on or began anew,
and its result is known.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path

from faults.daemon.fake_worker import FakeWorker, main

from cryobridge.schemas.hook_settings import VARIABLES
from cryobridge.schemas.wire import Frame

MAPS = "CRYOBRIDGE_FAKE_MAPS"
STEPS, STEP_S = 6, 0.03


class ChainWorker(FakeWorker):
    """See the module."""

    why_not_due = "correction is switched off"

    def standard(self, message: dict) -> bytes:
        return self._map("standard", message["half"])

    def corrected(self, message: dict) -> bytes:
        return self._map("corrected", message["half"])

    def is_due(self, message: dict, wanted: dict) -> bool:
        return message["environment"].get(VARIABLES["correction"]) != "0" and message["half"] != 0

    def on_job(self, frame: Frame, task: str, wanted: dict) -> None:
        spec = frame.message["spec"]
        folder = Path(spec["output"])
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = folder / ".checkpoint"
        step, digest = 0, _hash(json.dumps([spec["kind"], spec.get("options")], sort_keys=True))
        if checkpoint.exists():
            kept, digest = checkpoint.read_text().split()
            step = int(kept)
        while step < STEPS:
            if not self.work(task, STEP_S):
                return
            step, digest = step + 1, _hash(digest)
            _replace(checkpoint, f"{step} {digest}")
            self.send({"type": "progress", "task": task, "text": f"step {step}", "fraction": step / STEPS})
        _replace(folder / "chain.csv", f"{digest}\n")
        self.send({"type": "done", "task": task, "result": {"kind": spec["kind"], "digest": digest}})

    def _map(self, kind: str, half: int) -> bytes:
        # A correction that takes no time is never killed.
        time.sleep(STEP_S)
        return Path(os.environ[MAPS], f"{kind}_half{half}.mrc").read_bytes()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main(ChainWorker))
