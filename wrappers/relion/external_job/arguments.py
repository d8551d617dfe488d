"""The command line that RELION makes for an External job, taken apart; what it means, `translation` knows.

RELION writes `--o External/job012/ --in_3dref map.mrc ... --label value ... --j 4`, the labels and values as somebody
typed them, with no quotes, and `--pipeline_control External/job012/` where the command's own path has "relion_" in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryobridge.schemas.errors import OptionsInvalid

RELION_INPUTS = {
    "in_movies": "Input movies",
    "in_mics": "Input micrographs",
    "in_parts": "Input particles",
    "in_coords": "Input coordinates",
    "in_3dref": "Input 3D reference",
    "in_mask": "Input 3D mask",
}
"""RELION's arguments for inputs, and what its window calls them."""
_OWN = ("o", "j", "kind", "pipeline_control", "pipeline-control", *RELION_INPUTS)


@dataclass(frozen=True)
class ExternalCall:
    """What one command line says.

    Attributes
    ----------
    output
        The job's folder as RELION names it, from the project.
    inputs
        Files in RELION's fields, by argument (`in_3dref`).
    kind
        Which kind of job; empty where nobody said.
    threads
        `--j`; None where it is not given.
    labels
        Every other label, as typed, with its values; none for a label that stands alone.
    """

    output: str
    inputs: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    threads: str | None = None
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()


def output_of(words: Sequence[str]) -> str:
    """The job's folder, also of a command line that is no good otherwise; empty where it has none."""
    found = dict(_grouped(words)).get("o", ())
    return found[0] if found else ""


def read_call(words: Sequence[str]) -> ExternalCall:
    """Take a command line apart.

    Raises
    ------
    OptionsInvalid
        If it has no `--o`, a word stands where a label should, or one of RELION's own arguments has not one value.
    """
    groups = _grouped(words)
    strays = [word for label, values in groups if not label for word in values]
    if strays:
        raise OptionsInvalid("", f"'{strays[0][:80]}' belongs to no label; give each value under its label")
    own: dict[str, str] = {}
    for label, values in groups:
        if label not in _OWN:
            continue
        if len(values) != 1:
            raise OptionsInvalid("", f"--{label} takes one value, not {len(values)}; names must not have blanks")
        if label in own:
            raise OptionsInvalid("", f"--{label} is given twice; keep one")
        own[label] = values[0]
    if "o" not in own:
        raise OptionsInvalid("", "--o is missing: the folder of the job, as RELION gives it, e.g. External/job012/")
    return ExternalCall(
        output=own["o"],
        inputs={name: own[name] for name in RELION_INPUTS if name in own},
        kind=own.get("kind", ""),
        threads=own.get("j"),
        labels=tuple((label, values) for label, values in groups if label not in _OWN),
    )


def _grouped(words: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Each label with the words up to the next; those before the first are of the label ''.

    A value may begin with one dash, as a negative number does; `--label=value` is understood as well.
    """
    groups: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            label, equals, value = word[2:].partition("=")
            groups.append((label, [value] if equals else []))
        elif groups:
            groups[-1][1].append(word)
        else:
            groups.append(("", [word]))
    return [(label, tuple(values)) for label, values in groups]
