"""Where a run takes place: folders of its own, and the daemon that is kept there."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from soak.history import History
from soak.refining import FASTER
from soak.stage import THREADS
from support.refinement import FAST, Refinement, Simulated

from cryobridge.bridge.client import DaemonClient
from cryobridge.schemas.hook_settings import FILE_NAME
from cryobridge.wrappers.formats import mrc

from .supervisor import Supervisor
from .worker import MAPS

STOCK = "relion_external_reconstruct"
DEADLINES = {"silence_s": 8.0, "standard_s": 30.0, "correct_s": 40.0, "partner_s": 15.0, "verify_s": 15.0}
CORRECTED_SCALE = 1.05
GREETING_S = 5.0


@dataclass
class Place:
    """Everything that a run owns; also what `soak.refining` and `soak.submitting` ask of their stage."""

    folder: Path
    real: bool
    history: History = field(default_factory=History)
    over: threading.Event = field(default_factory=threading.Event)
    services: dict[str, Any] = field(default_factory=dict)
    supervisor: Supervisor | None = None

    @classmethod
    @contextmanager
    def made(cls, simulated: Simulated, *, real: bool) -> Iterator[Place]:
        """Make the folders and start the daemon; on the way out everything is ended and removed."""
        # A socket's path may have 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="cb-kills-"))
        place = cls(folder, real)
        try:
            for name in ("run", "state", "home", "tmp", "jobs", "projects", "maps", "bin"):
                (folder / name).mkdir(mode=0o700)
            config = {
                "devices": ["cpu"],
                "deadlines": DEADLINES,
                "state_dir": str(folder / "state"),
                "limits": {"finished_jobs_kept": 1_000_000},
            }
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
            place._make_maps(simulated)
            place.supervisor = Supervisor(place.socket, folder / "config.yaml", place.environment, real=real)
            yield place
        finally:
            place.over.set()
            if place.supervisor is not None:
                place.supervisor.stop()
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def socket(self) -> Path:
        """Where the daemon is found."""
        return self.folder / "run" / "socket"

    @property
    def database(self) -> Path:
        """The daemon's."""
        return self.folder / "state" / "jobs.sqlite"

    @property
    def environment(self) -> dict[str, str]:
        """For every process of the run: nothing of it is shared with the user's own."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("CRYOBRIDGE_", "ISONET_"))}
        home = self.folder / "home"
        return {
            **kept,
            **THREADS,
            "HOME": str(home),
            "TMPDIR": str(self.folder / "tmp"),
            "PATH": f"{self.folder / 'bin'}:{kept.get('PATH', '')}",
            "TORCHINDUCTOR_CACHE_DIR": str(home / "inductor"),
            "CRYOBRIDGE_SOCKET": str(self.socket),
            # A hook that finds nobody says so, and starts no daemon beside the one that is kept.
            "CRYOBRIDGE_SPAWN": "0",
            MAPS: str(self.folder / "maps"),
            **{f"XDG_{name}_HOME": str(home / name.lower()) for name in ("STATE", "CACHE", "CONFIG", "DATA")},
        }

    def client(self, timeout_s: float = GREETING_S) -> DaemonClient:
        """A connection that has been greeted; raises `DaemonUnavailable`."""
        return DaemonClient.connect(self.environment, timeout_s=timeout_s)

    def refinement(self, name: str, simulated: Simulated) -> Refinement:
        """A refinement that has not called yet, with a folder of its own."""
        found = Refinement.start(self.folder / "projects" / name, simulated, {**self.environment, **FAST, **FASTER})
        if not self.real:
            # A hook that falls back has its settings read by a process of its own, which costs more than its map.
            (found.job_folder / FILE_NAME).unlink()
        return found

    def _make_maps(self, simulated: Simulated) -> None:
        """What quick workers answer with: the map of a hook without a daemon, and a little more of it as corrected."""
        alone = self.refinement("alone", simulated)
        for call in alone.iterate(3, CRYOBRIDGE_SOCKET=str(self.folder / "nobody")):
            if call.status != 0:
                raise RuntimeError(f"no standard map could be made: {call.text}")
            volume, header = mrc.read(call.result)
            for kind, scale in (("standard", 1.0), ("corrected", CORRECTED_SCALE)):
                mrc.write_atomically(
                    self.folder / "maps" / f"{kind}_half{call.half}.mrc", scale * volume, header.voxel_size_A
                )
        if shutil.which(STOCK) is None:
            self._stand_in_for_relion()

    def _stand_in_for_relion(self) -> None:
        """Where RELION is not installed, a fallback would import torch, which takes longer than a restart."""
        program = self.folder / "bin" / STOCK
        program.write_text(
            "#!/bin/sh\n"
            'out=$(awk \'$1 == "_rlnExtReconsResult" {print $2}\' "$1")\n'
            "case $1 in *_half1_*) half=1;; *) half=2;; esac\n"
            f'exec cp "${MAPS}/standard_half$half.mrc" "$out"\n'
        )
        program.chmod(0o700)
        subprocess.run(["sh", "-n", str(program)], check=True)
