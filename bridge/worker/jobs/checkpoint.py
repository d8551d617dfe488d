"""What a long job leaves in its output folder to go on from after a crash, a kill or a restart.

A checkpoint is one safetensors file (no code runs when it is read), written whole or not at all. It counts only for
the very same job on the very same inputs; one that is of another job, or damaged, is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from cryobridge import __version__
from cryobridge.schemas.bounds import MAX_CHECKPOINT_BYTES, MAX_CHECKPOINT_TABLE_BYTES
from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.paths import Must
from cryobridge.schemas.plain_file import open_plain
from cryobridge.wrappers.formats.tensor_file import TensorFile
from cryobridge.wrappers.formats.whole_file import remove_leftovers, whole_file, write_all

from .input_records import InputRecords

log = logging.getLogger(__name__)

_NOTE = "cryobridge"
_ENDING = ".safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, all on the CPU, and a note of plain JSON values."""

    tensors: Mapping[str, torch.Tensor]
    note: Mapping[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one job, hidden files `.<name>.safetensors` in its folder.

    Parameters
    ----------
    folder
        The output folder. It need not be there yet.
    digest
        Of the job, see `digest_of`.
    read_only
        Write and remove nothing: for all but one of several processes that do the job together.
    """

    def __init__(self, folder: Path, digest: str, *, read_only: bool = False) -> None:
        self._folder = folder
        self._digest = digest
        self._read_only = read_only

    def read(self, name: str) -> Checkpoint | None:
        """The checkpoint of a name; None, and a line in the log, if it is damaged or of another job."""
        path = self._path(name)
        try:
            with open(open_plain(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                return self._read_from(file.fileno(), path)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("%s: cannot be read (%s); starting afresh", path, error.strerror)
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            log.warning("%s: damaged (%s); starting afresh", path, error)
        return None

    def _read_from(self, descriptor: int, path: Path) -> Checkpoint | None:
        if os.fstat(descriptor).st_size > MAX_CHECKPOINT_BYTES:
            raise ValueError(f"it is larger than {MAX_CHECKPOINT_BYTES} bytes")
        stored = TensorFile(descriptor, MAX_CHECKPOINT_TABLE_BYTES)
        header = _header(stored)
        if header["digest"] != self._digest:
            log.warning("%s: of another job, other inputs or another version; starting afresh", path)
            return None
        # Before it is in memory: who made the file up does not know the sum.
        if header["crc32"] != _crc32_of_stored(stored):
            raise ValueError("its checksum does not fit")
        return Checkpoint({name: stored.read(name) for name in stored.names}, header["note"])

    def write(self, name: str, checkpoint: Checkpoint) -> None:
        """Put a checkpoint in the place of the one of the same name.

        Raises
        ------
        CryobridgeError
            If the folder cannot be written to. The one before is still there then.
        """
        if self._read_only:
            return
        tensors = {key: value.detach().cpu().contiguous() for key, value in checkpoint.tensors.items()}
        header = {"digest": self._digest, "crc32": _crc32(tensors), "note": dict(checkpoint.note)}
        data = safetensors.torch.save(tensors, metadata={_NOTE: json.dumps(header)})
        path = self._path(name)
        try:
            with whole_file(path) as descriptor:
                write_all(descriptor, data, 0)
        except OSError as error:
            raise CryobridgeError(f"{path}: cannot be written: {error.strerror}") from error

    def remove(self, *names: str) -> None:
        """Remove checkpoints, and what a killed attempt left of unfinished ones."""
        if self._read_only:
            return
        for path in map(self._path, names):
            with contextlib.suppress(OSError):
                path.unlink()
        remove_leftovers(self._folder)

    def _path(self, name: str) -> Path:
        return self._folder / f".{name}{_ENDING}"


def digest_of(job: Job, options: Mapping[str, Any], inputs: InputRecords | None = None) -> str:
    """A digest of all that decides a job's result: its kind, options and the content of its inputs.

    Parameters
    ----------
    job
        With absolute paths.
    options
        As used, with the defaults of the device filled in.
    inputs
        Knows the hashes of inputs that were read before.
    """
    known = inputs or InputRecords()
    spec = job.as_spec()
    digest = hashlib.sha256(
        json.dumps(
            {"kind": spec["kind"], "options": spec["options"], "used": dict(options), "version": __version__},
            sort_keys=True,
        ).encode()
    )
    for found in job.paths():
        told = str(found.path) if found.must is Must.BE_ROOT else known.hash_of(found.path)
        digest.update(f"\0{found.key}\0{told}".encode())
    return digest.hexdigest()


def _crc32(tensors: Mapping[str, torch.Tensor]) -> int:
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes(), total)
    return total


def _crc32_of_stored(stored: TensorFile) -> int:
    """What `_crc32` gave of the tensors when they were written."""
    total = 0
    for name in stored.names:
        total = zlib.crc32(name.encode(), total)
        for block in stored.blocks(name):
            total = zlib.crc32(block, total)
    return total


def _header(stored: TensorFile) -> dict[str, Any]:
    """What `Checkpoints.write` noted in the file's own header."""
    header = json.loads(stored.metadata[_NOTE])
    if not isinstance(header, dict) or not isinstance(header.get("note"), dict):
        raise TypeError("its note is not a table")
    return header
