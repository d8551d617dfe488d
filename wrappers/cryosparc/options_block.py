"""The fenced block in a card's description: the one text that a user can edit in CryoSPARC's interface.

    ```cryobridge
    job = map.correct
    go = tag
    # effort = standard
    ```

A line that begins with `#` says nothing, nor does what follows two spaces and `#`; `card` writes a line for each option
with its default and what it is for, to be uncommented as it is. Only options of the job schema are taken, never a path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from cryobridge.schemas.describe import FieldDescription, describe_kind, nested
from cryobridge.schemas.errors import OptionsInvalid
from cryobridge.schemas.job import JOB_MODELS

FENCE = "```cryobridge"
MAX_CHARACTERS = 20_000
_MAX_LINES = 400
_END = re.compile(r"^\s*```\s*$")
_REMARK = re.compile(r"\s{2,}#")
Go = Literal["tag", "when_connected"]
MaskChoice = Literal["auto", "mask_refine", "mask_fsc", "mask_fsc_auto", "none"]
_GO: tuple[Go, ...] = ("tag", "when_connected")
_MASK_CHOICES: tuple[MaskChoice, ...] = ("auto", "mask_refine", "mask_fsc", "mask_fsc_auto", "none")
OWN_KEYS = ("job", "go", "use_mask")
"""Keys that are no options of a kind; no kind may have an option of such a name."""
_SOURCE = "the options in this job's description"


@dataclass(frozen=True)
class CardOptions:
    """What a description asks for.

    Attributes
    ----------
    kind
        Of the job.
    go
        tag: on a tag or a title that begins with "go"; when_connected: as soon as all that is needed is connected.
    use_mask
        Which of the volume's own masks is used where no mask is connected; auto: the first there is.
    options
        Options of the job as they were written, nested where a key has dots.
    """

    kind: str
    go: Go = "tag"
    use_mask: MaskChoice = "auto"
    options: dict[str, object] = field(default_factory=dict)


def has_block(description: str) -> bool:
    """Whether a description asks for anything of ours."""
    return FENCE in description


def read_block(description: str) -> CardOptions:
    """Read what a description asks for. The options are not checked here; `schemas.job.parse_job` does that.

    Raises
    ------
    OptionsInvalid
        If there is no block or more than one, it does not end, or a line cannot be read.
    """
    lines = _lines(description)
    values: dict[str, str] = {}
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        key, value = key.strip(), _REMARK.split(f"  {value}")[0].strip()
        if not equals or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.]{0,79}", key):
            raise OptionsInvalid(_SOURCE, f"'{text[:60]}' is not written as 'key = value'")
        if key in values:
            raise OptionsInvalid(_SOURCE, f"'{key}' stands twice; keep one")
        values[key] = value
    kind = values.pop("job", "")
    if not kind:
        raise OptionsInvalid(_SOURCE, "the line 'job = ...' is missing, e.g. job = map.correct")
    go = _choice(values, "go", _GO)
    use_mask = _choice(values, "use_mask", _MASK_CHOICES)
    # An empty value is the default, as everywhere in the schema.
    return CardOptions(kind, go, use_mask, _nested({key: value for key, value in values.items() if value}))  # type: ignore[arg-type]


def written_block(options: CardOptions, request: str) -> str:
    """The block for a new card: what was chosen, and every other option of the kind itself as a comment.

    Parameters
    ----------
    options
        What is chosen already.
    request
        Name of the request that the card is made for, by which it is found again.
    """
    lines = [FENCE, f"job = {options.kind}", f"go = {options.go}"]
    lines += [f"use_mask = {options.use_mask}"] if options.use_mask != "auto" else []
    chosen = dict(_flat(options.options))
    lines += [f"{key} = {value}" for key, value in chosen.items()]
    fields = describe_kind(JOB_MODELS[options.kind]).options if options.kind in JOB_MODELS else ()
    lines += [_commented(one) for one in fields if not one.group and not one.is_path and one.key not in chosen]
    return "\n".join([*lines, f"# card {request}", "```"])


def request_mark(request: str) -> str:
    """The line by which a card of a request is found again."""
    return f"# card {request}"


def mark_in(description: str) -> str:
    """The line of a description by which its card is found again (`request_mark`); empty where there is none."""
    found = re.search(r"^# card \S+$", description, re.MULTILINE)
    return found[0] if found else ""


def _nested(values: dict[str, str]) -> dict[str, object]:
    for key in values:
        above = next((one for one in values if key.startswith(f"{one}.")), None)
        if above is not None:
            raise OptionsInvalid(_SOURCE, f"'{above}' and '{key}' contradict; keep one")
    return nested(values)


def _choice(values: dict[str, str], key: str, choices: tuple[str, ...]) -> str:
    """Take one of our own keys out; its first choice is the default."""
    value = values.pop(key, "") or choices[0]
    if value not in choices:
        raise OptionsInvalid(_SOURCE, f"'{key}' must be one of {', '.join(choices)} (it is '{value[:40]}')")
    return value


def _lines(description: str) -> list[str]:
    if len(description) > MAX_CHARACTERS:
        raise OptionsInvalid(_SOURCE, f"more than {MAX_CHARACTERS} characters; shorten the description")
    parts = description.split(FENCE)
    if len(parts) != 2:
        count = "no block" if len(parts) == 1 else f"{len(parts) - 1} blocks"
        raise OptionsInvalid(_SOURCE, f"{count} that begin with {FENCE}; there must be one")
    lines: list[str] = []
    for line in parts[1].splitlines()[: _MAX_LINES + 1]:
        if _END.match(line):
            return lines
        lines.append(line)
    raise OptionsInvalid(_SOURCE, "the block does not end; put ``` on a line after it")


def _commented(one: FieldDescription) -> str:
    default = "" if one.default_on_gpu is None else one.default_on_gpu
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    return f"# {one.key} = {shown}".rstrip() + (f"    # {one.help}" if one.help else "")


def _flat(options: dict[str, object], place: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in options.items():
        found += _flat(value, f"{place}{key}.") if isinstance(value, dict) else [(f"{place}{key}", value)]
    return found
