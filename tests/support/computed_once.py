"""Jobs of tests that are computed once in a test run and copied afterwards: what is told of them is what is tested."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import torch

from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.schemas.errors import CryobridgeError
from cryobridge.wrappers.cryosparc.daemon import JobEnd

_SHELF = tempfile.TemporaryDirectory(prefix="cb-computed-")
_KNOWN: dict[str, Path] = {}
_COMPUTING = threading.Lock()


def result_of(spec: dict[str, Any]) -> JobEnd:
    """Do a job, or copy what the same options came to with inputs of the same content."""
    output = Path(spec["output"])
    with _COMPUTING:
        label = _label(spec)
        if label not in _KNOWN:
            end = _computed(spec)
            if end.state == "succeeded":
                place = Path(_SHELF.name) / str(len(_KNOWN))
                shutil.copytree(output, place, symlinks=True)
                _KNOWN[label] = place
            return end
    shutil.copytree(_KNOWN[label], output, symlinks=True, dirs_exist_ok=True)
    return JobEnd("succeeded", "", "")


def _computed(spec: dict[str, Any]) -> JobEnd:
    steps = run_job(spec, torch.device("cpu"))
    try:
        while True:
            next(steps)
    except StopIteration:
        return JobEnd("succeeded", "", "")
    except CryobridgeError as error:
        return JobEnd("failed", str(error.code), str(error))


def _label(spec: dict[str, Any]) -> str:
    """What makes the result; one that names files of a folder is nobody else's."""
    inputs = {key: _content(value, spec["output"]) for key, value in spec["inputs"].items()}
    return json.dumps([spec["kind"], inputs, spec["options"]], sort_keys=True)


def _content(value: Any, output: str) -> Any:
    if isinstance(value, dict):
        return {key: _content(one, output) for key, one in value.items()}
    if isinstance(value, list):
        return [_content(one, output) for one in value]
    if not isinstance(value, str):
        return value
    path = Path(value)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else [value, output]
