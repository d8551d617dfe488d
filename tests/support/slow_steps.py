"""`python slow_steps.py --job FILE`: the worker of a cluster's node, with a job that only counts, and needs no torch.

All but the job's own work is the real worker. It keeps its count in the output folder, and goes on from there.
"""

from __future__ import annotations

import json
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryobridge.bridge.worker import batch

STEP_S = 0.05


class Said:
    def __init__(self, text: str, fraction: float) -> None:
        self.text, self.fraction = text, fraction


def count(spec: dict[str, Any], _device: object) -> Iterator[Said]:
    folder = Path(spec["output"])
    folder.mkdir(exist_ok=True)
    kept = folder / "kept.json"
    begun = json.loads(kept.read_text()) if kept.exists() else 0
    with (folder / "runs.txt").open("a") as runs:
        runs.write(f"from {begun}\n")
    steps = spec["options"]["steps"]
    for step in range(begun, steps):
        time.sleep(STEP_S)
        # Whole or not at all: it may be killed at any moment.
        part = kept.with_suffix(".part")
        part.write_text(json.dumps(step + 1))
        part.replace(kept)
        yield Said(f"training {step + 1}/{steps}", (step + 1) / steps)
    return {"steps": steps}


def main() -> int:
    runner = types.ModuleType("cryobridge.bridge.worker.jobs.runner")
    runner.run_job = count
    sys.modules[runner.__name__] = runner
    batch.device_of = lambda _job: "cpu"
    return batch.main()


if __name__ == "__main__":
    sys.exit(main())
