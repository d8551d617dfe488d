"""One tomogram after the other: how far the list is, what was made before, and what became of those that failed.

A tomogram that cannot be used does not keep the others from being made. In the end it is said which failed and why; the
same job then does only these.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryobridge.schemas.errors import InputInvalid, OutOfMemory
from cryobridge.schemas.tomogram_tables import TABLE_NAME
from cryobridge.wrappers.tomograms.table import Tomogram, TomogramTable, update_table

from ..jobs.context import Context
from ..loop import Progress
from .made_notes import MadeNotes, MadeTomogram

RowSteps = Generator[Progress | None, None, MadeTomogram]


@dataclass(frozen=True)
class RowTask:
    """One tomogram to be done.

    Attributes
    ----------
    tomogram
        Its row.
    made_from
        All that decides what it becomes: settings, and the state of its files.
    steps
        Makes it; fractions of its progress are of this tomogram alone.
    """

    tomogram: Tomogram
    made_from: Mapping[str, Any]
    steps: Callable[[], RowSteps]


@dataclass(frozen=True)
class RowResults:
    """What became of the list.

    Attributes
    ----------
    made
        Pairs of tomogram and what it became, in the order of the table.
    failed
        Pairs of tomogram and why it has no result.
    """

    made: list[tuple[Tomogram, MadeTomogram]] = field(default_factory=list)
    failed: list[tuple[Tomogram, str]] = field(default_factory=list)

    @property
    def remarks(self) -> list[str]:
        """What is to be known of those that were made, in sentences."""
        return [line for _, made in self.made for line in made.remarks]


def refuse_to_replace(context: Context, name: str, inputs: Sequence[Path]) -> None:
    """See that a result does not come to lie where one of its inputs does.

    Raises
    ------
    InputInvalid
        If it would.
    """
    target = context.folder.path / name
    for path in inputs:
        if target.exists() and path.exists() and target.samefile(path):
            raise InputInvalid(f"{path}: would be replaced by the result; give another output folder")


def row_by_row(context: Context, tasks: Sequence[RowTask]) -> Generator[Progress | None, None, RowResults]:
    """Do tasks one after the other, without those that an earlier attempt at this job has done.

    Raises
    ------
    InputInvalid, OutOfMemory
        If the only task fails.
    """
    notes, results = MadeNotes(context.folder), RowResults()
    for number, task in enumerate(tasks):
        name, key = task.tomogram.name, str(task.tomogram.row)
        made = notes.of(key, task.made_from)
        if made is not None:
            yield Progress(f"{name}: made in an earlier attempt", (number + 1) / len(tasks))
            results.made.append((task.tomogram, made))
            continue
        try:
            made = yield from _within_list(task, number, len(tasks))
        except (InputInvalid, OutOfMemory) as error:
            if len(tasks) == 1:
                raise
            context.folder.log(f"{name}: failed: {error}")
            results.failed.append((task.tomogram, str(error)))
            yield Progress(f"{name}: failed, the list goes on", (number + 1) / len(tasks))
            continue
        notes.note(key, task.made_from, made)
        results.made.append((task.tomogram, made))
    return results


def tell_tables(
    context: Context, table: TomogramTable, results: RowResults, *, update_star: bool, name: str = TABLE_NAME
) -> None:
    """Write the table with the columns of the result into the folder, and into the user's own if that is wanted.

    That the user's own cannot be written to is said, and costs no result.

    Raises
    ------
    InputInvalid
        If some tomograms failed, after those that did not are in the tables.
    """
    folder = context.folder
    if results.made:
        at = folder.path / name
        folder.write_data(name, table.with_values(_values(context, table, results, at), at=at))
        if update_star:
            _tell_user(context, table, results)
    end_list(context, results)


def end_list(context: Context, results: RowResults) -> None:
    """End a job all of whose tomograms were made, once all else is written.

    Raises
    ------
    InputInvalid
        If some tomograms failed; what was made of the others stays, and is known to the same job.
    """
    if results.failed:
        raise InputInvalid(_failures(results))
    MadeNotes(context.folder).drop()


def _tell_user(context: Context, table: TomogramTable, results: RowResults) -> None:
    try:
        update_table(table.path, _values(context, table, results, table.path), table)
    except InputInvalid as error:
        context.folder.remark([f"{error}: only the table in the output folder has the columns of this job."])
    else:
        context.folder.log(f"set the columns of this job in {table.path}")


def _within_list(task: RowTask, number: int, count: int) -> RowSteps:
    """The steps of one, told as part of all."""
    with contextlib.closing(task.steps()) as steps:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                made: MadeTomogram = end.value
                return made
            if step is None:
                yield None
                continue
            fraction = None if step.fraction is None else (number + step.fraction) / count
            yield Progress(f"{task.tomogram.name}: {step.text}", fraction)


def _values(context: Context, table: TomogramTable, results: RowResults, at: Path) -> dict[int, dict[str, str]]:
    return {
        tomogram.row: {
            **made.values,
            **{label: table.path_text(context.folder.path / name, at) for label, name in made.paths.items()},
        }
        for tomogram, made in results.made
    }


def _failures(results: RowResults) -> str:
    first, why = results.failed[0]
    count, total = len(results.failed), len(results.failed) + len(results.made)
    named = ", ".join(tomogram.index for tomogram, _ in results.failed[:20])
    others = f"; the {len(results.made)} others are done and kept" if results.made else ""
    return (
        f"{count} of {total} tomograms failed (rlnIndex {named}), {first.name} because: {why}{others}: mend what is "
        "wrong and give the same job again, which does only what is missing"
    )
