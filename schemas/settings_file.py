"""The text of a job folder's `cryobridge.yaml` as plain values: one strict and bounded reading of YAML.

Less is read than YAML can say. What nobody means in a few lines of settings is refused with its line, or left as the
text that stands there, so that the option it is meant for refuses it: dates, numbers to the base of 60, 16, 8 or 2,
numbers of hundreds of digits, tags of other programs, references to another line, a key that stands twice.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from . import hook_settings
from .errors import InputInvalid
from .hook_settings import FILE_NAME

_TAG = "tag:yaml.org,2002:"
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})(e[-+]?[0-9]{1,4})?|[-+]?\.(inf|nan)", re.I)
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_LONGEST_SENTENCE = 200
_LONGEST_WORD = 40


def read(text: str | None) -> dict[str, Any]:
    """Read the text of a settings file.

    Parameters
    ----------
    text
        None where there is no file.

    Returns
    -------
    dict
        Keys and values: None, bool, int, float, str, and lists and dictionaries of these.

    Raises
    ------
    InputInvalid
        If it is too large, or does not hold `key: value` lines that are read in one way only.
    """
    if not text:
        return {}
    if len(text) > hook_settings.MAX_FILE_BYTES:
        raise InputInvalid(hook_settings.TOO_LARGE)
    try:
        root = yaml.compose(text, Loader=_Loader)
        values = None if root is None else _value(root)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        said = " ".join(str(error).split())
        shown = said if len(said) <= _LONGEST_SENTENCE else f"{said[: _LONGEST_SENTENCE - 3]}..."
        raise InputInvalid(f"{FILE_NAME}: not YAML: {shown}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputInvalid(f"{FILE_NAME}: should hold 'key: value' lines")
    return values


def not_as_the_hook_reads_it(key: str) -> InputInvalid:
    """The error for a setting of the hook that cannot be obeyed as it stands, with a way to write it."""
    example = "90" if key == "deadline_s" else "true"
    return InputInvalid(
        f"{FILE_NAME}: '{key}' is not written as the hook reads it; write it once, on a line of its own "
        f"that begins with it: {key}: {example}"
    )


class _Loader(yaml.SafeLoader):
    """Refuses references: a few bytes of them can stand for gigabytes."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("a value refers to another line (*name); write it out")
        return super().compose_node(parent, index)


def _value(node: Node) -> Any:
    if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
        return _table(node)
    if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
        return [_value(one) for one in node.value]
    if isinstance(node, ScalarNode):
        return _scalar(node)
    raise _refused(node, f"has a tag ({_short(node.tag)}) that no setting has")


def _table(node: MappingNode) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, ScalarNode) and key_node.tag == f"{_TAG}str" else None
        if key is None:
            raise InputInvalid(f"{FILE_NAME}: should hold 'key: value' lines; line {_line(key_node)} begins otherwise")
        if key in values:
            if key in hook_settings.KEYS:
                raise not_as_the_hook_reads_it(key)
            raise InputInvalid(f"{FILE_NAME}: '{_short(key)}' stands twice, again in line {_line(key_node)}; keep one")
        values[key] = _value(value_node)
    return values


def _scalar(node: ScalarNode) -> bool | int | float | str | None:
    kind, text = node.tag.removeprefix(_TAG), str(node.value)
    if kind == "null":
        return None
    if kind == "bool":
        return _WORDS.get(text.lower(), text)
    if kind == "int":
        return int(text) if _WHOLE.fullmatch(text) else text
    if kind == "float":
        # Python writes these two without the point.
        return float(re.sub(r"\.(?=[in])", "", text, flags=re.I)) if _DECIMAL.fullmatch(text) else text
    if kind == "timestamp":
        raise _refused(node, f"holds a date ({_short(text)}), and no setting is one")
    if kind in {"str", "merge", "value"}:  # of which the last two are "<<" and "="
        return text
    raise _refused(node, f"has a tag ({_short(node.tag)}) that no setting has")


def _refused(node: Node, what: str) -> ValueError:
    return ValueError(f"line {_line(node)} {what}")


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_WORD else f"{text[: _LONGEST_WORD - 3]}..."
