"""Reading a job file: YAML or JSON from anybody, bounded in size and depth before it is looked at.

Twice the same key, YAML references (a small file that unfolds to gigabytes) and other documents behind the first
are refused: none of them has a place in a job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .bounds import MAX_DEPTH, MAX_JOB_FILE_BYTES, MAX_NUMBER_CHARACTERS, MAX_VALUES
from .envelope import Job
from .errors import InputInvalid, OptionsInvalid
from .job import parse_job
from .plain_file import read_bounded
from .validation import clipped

SUFFIXES = (".yaml", ".yml", ".json")
_MAX_OWN_JOB_BYTES = 16 * 1024 * 1024
"""Of `job.yaml` in an output folder: longer than what users write, since every path is absolute there."""


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
    text = read_bounded(path, MAX_JOB_FILE_BYTES, is_a="a job file is a few lines")
    try:
        job = parse_job(parse_text(text, path.name), path.name)
    except OptionsInvalid as error:
        line = _line_of(text, error.place)
        raise error.of(f"{path.name}: line {line}" if line else path.name) from error
    return job.resolved((base or path.parent).absolute())


def read_own_job(path: Path) -> dict[str, Any] | None:
    """The job that an output folder says it is of; None where it says none that can be read. Nothing is waited for."""
    try:
        spec = parse_text(read_bounded(path, _MAX_OWN_JOB_BYTES), path.name)
    except InputInvalid:
        return None
    return spec if isinstance(spec, dict) else None


def without_run(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a job's result: all of it but how it is run."""
    return {key: value for key, value in spec.items() if key != "run"}


def parse_text(text: str, name: str) -> Any:
    """What a YAML or JSON text holds; `name` chooses which and goes into messages."""
    try:
        if name.lower().endswith(".json"):
            return json.loads(text, object_pairs_hook=_no_doubles, parse_int=_whole_number)
        return yaml.load(text, Loader=_JobLoader)  # noqa: S506 - derived from SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputInvalid(f"{name}: not YAML: {line}{clipped(str(error.problem or error.context))}") from error
    except yaml.YAMLError as error:
        raise InputInvalid(f"{name}: not YAML: {clipped(str(error))}") from error
    except json.JSONDecodeError as error:
        raise InputInvalid(f"{name}: not JSON: line {error.lineno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else clipped(str(error))
        raise InputInvalid(f"{name}: {what}") from error


def _line_of(text: str, place: Sequence[str]) -> int | None:
    """The line, from 1, of the last of nested keys that is there; None where none is, or the text is no YAML."""
    try:
        node = yaml.compose(text, Loader=_JobLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    line = None
    for key in place:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        found = next(((name, value) for name, value in pairs if name.value == key), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_NUMBER_CHARACTERS:
        raise ValueError(f"a number of {len(digits)} characters; the longest that is read has {MAX_NUMBER_CHARACTERS}")
    return int(digits)


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"'{key}' is given twice")
        result[key] = value
    return result


class _JobLoader(yaml.SafeLoader):
    """SafeLoader without references, merges, repeated keys, numbers without end, and more than a job can hold."""

    _values = 0
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "references (*name) are not read; write the value out", mark)
        self._values += 1
        if self._values > MAX_VALUES:
            raise ValueError(f"holds more than {MAX_VALUES} values, so it is no job")
        if self._depth >= MAX_DEPTH:
            raise ValueError("nested too deeply")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key should be one word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def bounded_int(self, node: yaml.ScalarNode) -> int:
        _refuse_endless(node)
        return int(self.construct_yaml_int(node))

    def bounded_float(self, node: yaml.ScalarNode) -> float:
        _refuse_endless(node)
        return float(self.construct_yaml_float(node))


_JobLoader.add_constructor("tag:yaml.org,2002:int", _JobLoader.bounded_int)
_JobLoader.add_constructor("tag:yaml.org,2002:float", _JobLoader.bounded_float)


def _refuse_endless(node: yaml.ScalarNode) -> None:
    if len(node.value) > MAX_NUMBER_CHARACTERS:
        words = f"a number of {len(node.value)} characters; the longest that is read has {MAX_NUMBER_CHARACTERS}"
        raise yaml.constructor.ConstructorError(None, None, words, node.start_mark)
