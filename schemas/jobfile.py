"""Reading a job file: YAML or JSON from anybody, bounded in size and depth before it is looked at.

Twice the same key, YAML references (a small file that unfolds to gigabytes) and other documents behind the first
are refused: none of them has a place in a job.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from .envelope import Job
from .errors import InputInvalid, OptionsInvalid
from .job import parse_job
from .plain_file import read_bounded

MAX_JOB_FILE_BYTES = 256 * 1024
SUFFIXES = (".yaml", ".yml", ".json")
_LONGEST_NUMBER = 64
"""Characters. Numbers of base 60 take time that grows with the square of their length, and no option needs one."""


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


def parse_text(text: str, name: str) -> Any:
    """What a YAML or JSON text holds; `name` chooses which and goes into messages."""
    try:
        if name.lower().endswith(".json"):
            return json.loads(text, object_pairs_hook=_no_doubles, parse_int=_whole_number)
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


def _line_of(text: str, place: Sequence[str]) -> int | None:
    """The line, from 1, of the last of nested keys that is there; None where none is, or the text is no YAML."""
    try:
        node = yaml.compose(text, Loader=_JobLoader)
    except yaml.YAMLError:
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
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} characters; the longest that is read has {_LONGEST_NUMBER}")
    return int(digits)


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"'{key}' is given twice")
        result[key] = value
    return result


class _JobLoader(yaml.SafeLoader):
    """SafeLoader without references, merges, repeated keys and numbers without end."""

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

    def bounded_int(self, node: yaml.ScalarNode) -> int:
        _refuse_endless(node)
        return int(self.construct_yaml_int(node))

    def bounded_float(self, node: yaml.ScalarNode) -> float:
        _refuse_endless(node)
        return float(self.construct_yaml_float(node))


_JobLoader.add_constructor("tag:yaml.org,2002:int", _JobLoader.bounded_int)
_JobLoader.add_constructor("tag:yaml.org,2002:float", _JobLoader.bounded_float)


def _refuse_endless(node: yaml.ScalarNode) -> None:
    if len(node.value) > _LONGEST_NUMBER:
        words = f"a number of {len(node.value)} characters; the longest that is read has {_LONGEST_NUMBER}"
        raise yaml.constructor.ConstructorError(None, None, words, node.start_mark)
