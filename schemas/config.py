"""The daemon's configuration: a YAML file, then `CRYOBRIDGE_*` variables, then command-line options.

Later sources win, and `load` remembers for every value where it came from.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from .errors import InputInvalid
from .plain_file import open_plain
from .slurm import SlurmConfig
from .validation import StrictModel, input_invalid
from .wire import SILENCE_LIMIT_S, user_socket_path

PREFIX = "CRYOBRIDGE_"
MAX_CONFIG_BYTES = 256 * 1024


class Deadlines(StrictModel):
    """Longest times of the parts of a call, in seconds."""

    standard_s: float = Field(900.0, gt=0, description="for a half's standard map")
    correct_s: float = Field(7200.0, gt=0, description="for an iteration's correction, where its options set none")
    partner_s: float = Field(120.0, gt=0, description="for the other half to call, where its options set none")
    verify_s: float = Field(60.0, gt=0, description="for both hooks to check the corrected maps")
    drain_s: float = Field(60.0, gt=0, description="for running calls when the daemon is told to stop")
    cancel_s: float = Field(30.0, gt=0, description="for a worker to give up cancelled work before it is killed")
    worker_start_s: float = Field(180.0, gt=0, description="for a worker to import torch and report ready")
    silence_s: float = Field(SILENCE_LIMIT_S, gt=0, description="a worker that says nothing for this long is killed")
    still_s: float = Field(
        30.0,
        gt=0,
        description="a worker that makes no step and computes nothing for this long while a call waits is replaced",
    )


class Limits(StrictModel):
    """How much is accepted before the answer is "busy"."""

    calls: int = Field(64, ge=1, description="RELION calls at once")
    jobs: int = Field(256, ge=1, description="queued and running jobs")
    jobs_per_user: int = Field(64, ge=1)
    connections: int = Field(256, ge=4)
    finished_jobs_kept: int = Field(10_000, ge=0, description="older finished jobs are forgotten at start")


class DaemonConfig(StrictModel):
    """Everything an operator can set."""

    socket: Path | None = Field(None, description="where to listen; default: the user's own socket")
    socket_mode: str = Field("0600", pattern=r"^0?[0-7]{3}$", description="octal; 0600 for one user, 0666 for all")
    state_dir: Path | None = Field(None, description="database and logs; default: the user's state folder")
    devices: Literal["auto"] | list[str] = Field("auto", description="auto, or e.g. [cpu] or [cuda:GPU-5a...]")
    keep_alive_s: float = Field(3600.0, description="end an idle worker after this; 0 at once, below 0 never")
    idle_exit_s: float = Field(1800.0, gt=0, description="a daemon that a hook started ends after this without work")
    deadlines: Deadlines = Deadlines()
    limits: Limits = Limits()
    watch_roots: list[Path] = Field(default_factory=list, description="folders searched for refinements")
    inbox: Path | None = Field(None, description="folder where job files may be dropped")
    slurm: SlurmConfig = SlurmConfig()
    job_roots: list[Path] = Field(default_factory=list, description="folders that other users' jobs may name")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("devices", mode="before")
    @classmethod
    def _split_devices(cls, value: object) -> object:
        if isinstance(value, str) and value != "auto":
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("watch_roots", "job_roots", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    def socket_path(self, environment: Mapping[str, str] = os.environ) -> Path:
        """Where this daemon listens."""
        return (self.socket or user_socket_path(dict(environment))).absolute()

    def state_path(self, environment: Mapping[str, str] = os.environ) -> Path:
        """Where this daemon keeps its database and logs.

        One folder per socket and host: home folders are often shared between hosts, and two daemons must
        never share a database.
        """
        if self.state_dir is not None:
            return self.state_dir.absolute()
        if self.socket is not None and self.socket != user_socket_path(dict(environment)):
            return self.socket.absolute().parent / f"{self.socket.name}.state"
        base = environment.get("XDG_STATE_HOME") or f"{environment.get('HOME', '/')}/.local/state"
        return Path(base) / "cryobridge" / socket.gethostname()


@dataclass(frozen=True)
class Loaded:
    """A configuration and where each of its values came from."""

    config: DaemonConfig
    origins: dict[str, str]
    """Dotted key -> "default", "file <path>", "environment <NAME>" or "command line"."""


def load(
    path: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    options: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read the configuration.

    Parameters
    ----------
    path
        A YAML file; `$CRYOBRIDGE_CONFIG` when None; no file when that is unset too.
    environment
        `CRYOBRIDGE_<KEY>` sets a top-level key, `CRYOBRIDGE_DEADLINES__STANDARD_S` one of a section.
    options
        Values from the command line, by dotted key.

    Raises
    ------
    InputInvalid
        If a file cannot be read, a key is unknown (names the nearest) or a value is not allowed.
    """
    origins = dict.fromkeys(_dotted(DaemonConfig().model_dump()), "default")
    values: dict[str, Any] = {}
    if path is None and environment.get(f"{PREFIX}CONFIG"):
        path = Path(environment[f"{PREFIX}CONFIG"])
    if path is not None:
        values = _read(path)
        _check(values, str(path))
        origins.update(dict.fromkeys(_dotted(values), f"file {path}"))
    for key in sorted(origins):
        name = PREFIX + key.upper().replace(".", "__")
        if environment.get(name):
            _set(values, key, _value_of(name, environment[name]) if "." in key else environment[name])
            _check(values, f"environment variable {name}")
            origins[key] = f"environment {name}"
    for key, value in (options or {}).items():
        _set(values, key, value)
        origins[key] = "command line"
    return Loaded(_check(values, "configuration"), origins)


def _read(path: Path) -> dict[str, Any]:
    try:
        with open(open_plain(path), "rb") as stream:
            raw = stream.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read ({error.strerror}); check --config or CRYOBRIDGE_CONFIG") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise InputInvalid(f"{path}: larger than {MAX_CONFIG_BYTES} bytes, so not a configuration")
    try:
        values = yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        place = str(getattr(error, "problem_mark", "")).strip()
        raise InputInvalid(f"{path}: not YAML {place}".rstrip()) from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputInvalid(f"{path}: must be a list of `key: value` lines")
    return values


def _value_of(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputInvalid(f"environment variable {name}: is no value of YAML; write it as in the file") from error


def _check(values: dict[str, Any], source: str) -> DaemonConfig:
    try:
        return DaemonConfig.model_validate(values)
    except ValidationError as error:
        raise input_invalid(error, DaemonConfig, source) from error


def _dotted(values: Mapping[str, Any], place: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in values.items():
        keys += _dotted(value, f"{place}{key}.") if isinstance(value, dict) else [f"{place}{key}"]
    return keys


def _set(values: dict[str, Any], dotted: str, value: object) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[last] = value
