"""`python -m cryobridge.bridge.worker.run JOBFILE`: run one job in the foreground, with no daemon."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.jobfile import load_job
from cryobridge.schemas.wire import EXIT_FAILED, EXIT_OK


def main() -> int:
    """Run the job of a file; say how far it is on standard error, print its result as JSON with `--json`."""
    parser = argparse.ArgumentParser(prog="cryobridge run", description=__doc__)
    parser.add_argument("job", type=Path, help="job file, YAML or JSON")
    parser.add_argument("--base", type=Path, help="where relative paths of the job start (default: its own folder)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON")
    arguments = parser.parse_args()
    try:
        job = load_job(arguments.job, base=arguments.base)
        # torch takes seconds to load; a job file that cannot be used should be said at once.
        import torch

        from .jobs import result_line, run_job

        device = arguments.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() and job.run.devices != "cpu" else "cpu"
        steps = run_job(job.as_spec(), torch.device(device))
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                result = end.value
                break
            if progress is not None:
                sys.stderr.write(f"{progress.text}\n")
    except CryobridgeError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    sys.stdout.write(f"{json.dumps(result) if arguments.json else result_line(result)}\n")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
