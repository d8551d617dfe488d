"""`cryobridge-relion-job`: the program that RELION starts for a job of the type External, with our job in it.

Written for RELION's window and its schemes: what is wrong goes to `run.err`, what happens to `run.out`, and the folder
says at the end how it went. Whatever happens, one marker of RELION's is there, or its window would show the job as
running.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from cryobridge.schemas.errors import Cancelled, CryobridgeError, JobRejected, OptionsInvalid
from cryobridge.schemas.wire import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from cryobridge.wrappers.relion.external_job.arguments import output_of, read_call
from cryobridge.wrappers.relion.external_job.folder import EXIT_ABORTED, ExitMarker, ExternalFolder
from cryobridge.wrappers.relion.external_job.nodes import write_nodes

from ..spoken import as_typed
from ..terminal import printable

USAGE = """\
Started by RELION for a job of the type "External"; give the path of this program as "External executable".

  cryobridge-relion-job --o External/job012/ --in_3dref run_half1_class001_unfil.mrc --in_mask mask.mrc --j 4
  cryobridge-relion-job --o External/job013/ --kind vae.linear --in_parts run_data.star --j 4

--kind says which job (map.correct, if it is left out); every option of a kind is a label, e.g. --limit_resolution_A 4.
'cryobridge map correct --help' and its like list them; docs/relion.md has a table for RELION's window.
"""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopWish:
    """Whether the job is still wanted: by RELION's window, and by whoever may send signals."""

    def __init__(self, folder: ExternalFolder) -> None:
        self._folder = folder
        self._signal = 0

    def note_signals(self) -> None:
        """Take signals from now on; they only leave a note."""

        def note(number: int, _frame: FrameType | None) -> None:
            self._signal = number

        for number in _SIGNALS:
            signal.signal(number, note)

    def look(self) -> None:
        """Raise `Cancelled` if the job is not wanted any more."""
        if self._signal:
            raise Cancelled(f"stopped by signal {signal.Signals(self._signal).name}")
        if self._folder.wants_abort():
            raise Cancelled("aborted by the user of RELION")


def main(argv: Sequence[str] | None = None) -> int:
    """Do one External job; return 0, 1 if it failed, 2 after an abort as RELION's own programs, or on wrong usage."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words in ([], ["-h"], ["--help"]):
        sys.stdout.write(USAGE)
        return EXIT_OK
    output = output_of(words)
    if not output:
        _complain("--o is missing: the folder of the job, as RELION gives it, e.g. External/job012/")
        return EXIT_USAGE
    project = Path.cwd()
    folder = ExternalFolder(project / output)
    wish = StopWish(folder)
    wish.note_signals()
    marker, code = ExitMarker.FAILURE, EXIT_FAILED
    try:
        folder.begin()
        if _done(words, folder, project, wish.look):
            marker, code = ExitMarker.SUCCESS, EXIT_OK
    except Cancelled as error:
        _say(f"{error}; continue the job, and it goes on from its last checkpoint")
        marker, code = ExitMarker.ABORTED, EXIT_ABORTED
    except CryobridgeError as error:
        _complain(str(error))
    except OSError as error:
        _complain(f"{folder.path}: {error.strerror or error}")
    finally:
        code = _ended(folder, marker, code)
    return code


def _ended(folder: ExternalFolder, marker: ExitMarker, code: int) -> int:
    try:
        folder.end(marker)
    except OSError as error:
        _complain(f"{folder.path / marker}: cannot be made ({error.strerror}); RELION will show the job as running")
        return code or EXIT_FAILED
    return code


def _done(words: Sequence[str], folder: ExternalFolder, project: Path, look: Callable[[], None]) -> bool:
    """Translate, check and do the job; whether it succeeded."""
    # All kinds of jobs; only a command line that can be read needs them.
    from cryobridge.schemas.describe import describe_kind
    from cryobridge.schemas.envelope import JOB_MODELS, JOB_NAME, RESULT_NAME
    from cryobridge.schemas.job import check_paths, parse_job, user_kinds
    from cryobridge.schemas.jobfile import read_own_job, without_run
    from cryobridge.schemas.result import read_result
    from cryobridge.wrappers.relion.external_job.translation import kind_of, translate

    from ..daemon_jobs import DaemonJobs
    from ..external_job import ExternalJob

    call = read_call(words)
    asked = kind_of(call)
    model = JOB_MODELS.get(asked)
    if model is None or not model.user_kind:
        raise JobRejected(f"--kind: there is no kind {asked[:80]}; one of {', '.join(user_kinds())}")
    translated = translate(call, describe_kind(model), project)
    try:
        job = parse_job(translated.spec, "").resolved(project)
    except OptionsInvalid as error:
        raise OptionsInvalid("", as_typed(error.sentence, translated.names)) from error
    _say(f"{job.kind} in {call.output}")
    for note in translated.notes:
        _say(f"  {note}")
    before = read_own_job(job.output / JOB_NAME)
    finished = before is not None and without_run(before) == without_run(job.as_spec())
    if finished and (job.output / RESULT_NAME).exists() and not job.run.overwrite:
        _say("was finished before; nothing is done again")
    else:
        try:
            check_paths(job)
        except CryobridgeError as error:
            error.args = (as_typed(str(error), translated.names),)
            raise
        if not ExternalJob(job, translated.names, look, _say, _complain).run(DaemonJobs(), os.environ):
            return False
    inside = folder.path.is_relative_to(project)
    count = write_nodes(
        folder.path, read_result(job.output).outputs, str(folder.path.relative_to(project) if inside else folder.path)
    )
    _say(f"done; {count} files for RELION's pipeline, see {call.output.rstrip('/')}/report.html")
    return True


def _say(line: str) -> None:
    sys.stdout.write(f"cryobridge: {printable(line)}\n")
    sys.stdout.flush()


def _complain(line: str) -> None:
    sys.stderr.write("\n".join(printable(one) for one in f"cryobridge: {line}".split("\n")) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
