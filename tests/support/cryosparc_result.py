"""Finished jobs for tests of what is brought to CryoSPARC: small maps, a page, and the `result.json` of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from cryobridge.schemas.envelope import RESULT_NAME
from cryobridge.schemas.result import JobResult, OutputRecord
from cryobridge.wrappers.formats import mrc

BOX, VOXEL_A = 8, 1.5


def volume_fields(*slots: str) -> list[tuple[str, str]]:
    """Columns that a server asks for in an output with these volume slots."""
    return [
        (f"{slot}/{field}", dtype)
        for slot in slots
        for field, dtype in (("path", "O"), ("shape", "3u4"), ("psize_A", "f4"))
    ]


def written_result(folder: Path, kind: str, maps: dict[str, str], files: dict[str, str] | None = None) -> JobResult:
    """Write maps (roles by name) and text files, and the result that tells of them."""
    outputs = {}
    for number, (name, role) in enumerate(maps.items()):
        volume = np.random.default_rng(number).normal(size=(BOX, BOX, BOX)).astype(np.float32)
        mrc.write_atomically(folder / name, volume, VOXEL_A)
        outputs[name] = _record(folder / name, role)
    for name, content in (files or {}).items():
        (folder / name).write_text(content, encoding="utf-8")
        outputs[name] = _record(folder / name, None)
    result = JobResult(
        kind=kind,
        versions={},
        inputs={},
        outputs=outputs,
        options={},
        device="cpu",
        started_at="2026-01-01T00:00:00+00:00",
        timings_s={"total": 1.0},
        metrics={"resolution_A": 3.21, "name": "a"},
        statements=["The half-maps are independent."],
    )
    (folder / RESULT_NAME).write_text(result.as_json(), encoding="utf-8")
    return result


def _record(path: Path, role: str | None) -> OutputRecord:
    raw = path.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    return OutputRecord(path=str(path), sha256=digest, size_bytes=len(raw), role=role)
