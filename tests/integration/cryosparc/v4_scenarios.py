"""What happens on CryoSPARC 4: run in a process of its own, in which the client 4.7.1 is the one that is found.

`python -m integration.cryosparc.v4_scenarios SAMPLE FOLDER [NAME ...]` prints a line of JSON for each scenario: its
name, and what went wrong, if anything did. `test_v4.py` makes a test of each.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import logging
import shutil
import sys
import time
import traceback
from pathlib import Path

from support.cryosparc import DirectDaemon
from support.cryosparc_v4 import FakeV4

from . import v4_cards, v4_known
from .v4_bench import Scenario, V4Bench

SCENARIOS: dict[str, Scenario] = {
    name: function
    for module in (v4_cards, v4_known)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
}
SCENARIOS |= v4_cards.LOST_ANSWERS


def main(sample: Path, folder: Path, names: list[str]) -> None:
    """Run scenarios, and print what became of each."""
    found = importlib.metadata.version("cryosparc-tools")
    if not found.startswith("4."):
        raise SystemExit(f"cryosparc-tools {found} is what Python finds here, not 4.7.1")
    logging.getLogger("cryobridge").setLevel(logging.CRITICAL)
    for number, name in enumerate(names or SCENARIOS):
        place = folder / str(number)
        shutil.copytree(sample, place / "project")
        fake = FakeV4(place / "project")
        wrong, begun = "", time.monotonic()
        try:
            SCENARIOS[name](V4Bench(fake, place, DirectDaemon()))
        except BaseException:  # noqa: BLE001 - told to the test
            wrong = traceback.format_exc()
        finally:
            fake.close()
            shutil.rmtree(place)
        print(json.dumps({"name": name, "wrong": wrong, "seconds": time.monotonic() - begun}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
