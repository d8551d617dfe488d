"""Reading a job file: YAML or JSON from anybody, bounded in size and depth before it is looked at.

Twice the same key, YAML references (a small file that unfolds to gigabytes) and other documents behind the first
are refused: none of them has a place in a job.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

from .envelope import Job
from .errors import InputInvalid
from .job import parse_job

MAX_JOB_FILE_BYTES = 256 * 1024
SUFFIXES = (".yaml", ".yml", ".json")


def load_job(path: Path, *, base: Path | None = None) -> Job:
    """Read and check a job file.

    Parameters
    ----------
    path
        The file; JSON if it is called so, else YAML.
    base
        Where its relative paths start; its own folder if None.

    Raises
    ------
    InputInvalid
        If it is unreadable, too large, no YAML or JSON, or not a job.
    JobRejected
        If its kind cannot be submitted.
    """
    job = parse_job(parse_text(read_bounded(path), path.name), path.name)
    return job.resolved((base or path.parent).absolute())


def read_bounded(path: Path, limit_bytes: int = MAX_JOB_FILE_BYTES) -> str:
    """The text of a plain file of at most `limit_bytes`; a pipe or a device is not waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InputInvalid(f"{path}: is not a plain file; give a YAML or JSON file")
        with open(fd, "rb", closefd=False) as file:
            raw = file.read(limit_bytes + 1)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}") from error
    finally:
        os.close(fd)
    if len(raw) > limit_bytes:
        raise InputInvalid(f"{path.name}: larger than {limit_bytes} bytes; a job file is a few lines")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputInvalid(f"{path.name}: not UTF-8 text (byte {error.start}); save it as plain text") from error


def parse_text(text: str, name: str) -> Any:
    """What a YAML or JSON text holds; `name` chooses which and goes into messages."""
    try:
        if name.lower().endswith(".json"):
            return json.loads(text, object_pairs_hook=_no_doubles)
        return yaml.load(text, Loader=_JobLoader)  # noqa: S506 - derived from SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputInvalid(f"{name}: not YAML: {line}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise InputInvalid(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    except json.JSONDecodeError as error:
        raise InputInvalid(f"{name}: not JSON: line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputInvalid(f"{name}: {what}") from error


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"'{key}' is given twice")
        result[key] = value
    return result


class _JobLoader(yaml.SafeLoader):
    """SafeLoader without references, merges and repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "references (*name) are not read; write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key should be one word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
