"""What a finished job brings to its card: files, outputs, pictures, and words, each step known by a name."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cryobridge.schemas.envelope import RESULT_NAME
from cryobridge.schemas.errors import BadResult
from cryobridge.schemas.plain_file import open_plain, read_plain
from cryobridge.schemas.result import read_result

from ..documents import Card
from ..patience import SERVERS_OWN_TROUBLE
from ..server import CryosparcServer, ServerRefused
from .figures import PageFigure, figures_of
from .outputs import Placed, planned, publish
from .request import Request
from .rights import share
from .telling import Telling

REPORT_NAME = "report.html"
_CHUNK_BYTES = 1 << 20
_MAX_TABLE_BYTES = 16 * 1024 * 1024
UPLOAD_PAUSES_S = (0.5, 5.0, 30.0)
"""Before each further try to send a file; a disk that is full may be cleared meanwhile."""

Step = tuple[str, Callable[[], None]]


class Publishing:
    """Brings one result to one card.

    Parameters
    ----------
    check
        Called before each output; raises where nobody wants it any more.
    """

    def __init__(
        self,
        server: CryosparcServer,
        card: Card,
        request: Request,
        telling: Telling,
        check: Callable[[], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._server = server
        self._card = card
        self._request = request
        self._telling = telling
        self._check = check
        self._sleep = sleep
        # It was none when the job was handed over; the folder lies where others may write.
        if request.output.is_symlink():
            raise BadResult(f"{request.output}: somebody put a link in its place; remove it, run it again")
        self._result = read_result(request.output)
        _check_names(self._result.outputs, request.output)

    def steps(self) -> Iterator[Step]:
        """Name and deed of each step, in order; those whose name is known to be done are left out by the caller."""
        if self._request.files.writable:
            yield "rights", self._share
        else:
            for name in [*sorted(self._result.outputs), RESULT_NAME]:
                yield f"file {name}", lambda name=name: self._upload(name)  # type: ignore[misc]
        yield "outputs", self._outputs
        yield "checkpoint", lambda: self._adorn(lambda: self._server.checkpoint(self._card.id, {"stage": "results"}))
        figures = figures_of(self._request.output / REPORT_NAME) if REPORT_NAME in self._result.outputs else []
        for number, figure in enumerate(figures, 1):
            yield f"figure {number}", lambda figure=figure: self._adorn(lambda: self._plot(figure))  # type: ignore[misc]
        if figures:
            tile = next((one for one in figures if one.is_tile), figures[0])
            yield "tile", lambda: self._adorn(lambda: self._tile(tile))
        yield "words", self._words

    def _share(self) -> None:
        """CryoSPARC's user is not the daemon's."""
        refused = share(self._request.output, self._request.output.parent)
        if refused:
            self._telling.say(
                f"{refused[0]} and {len(refused) - 1} others belong to the daemon's user, so CryoSPARC may not be able "
                "to read them; the agent and the daemon should be run by one user",
                "warning",
            )

    def _placed(self) -> dict[str, Placed]:
        folder = self._folder
        return {name: Placed(self._request.output / name, f"{folder}/{name}") for name in self._result.outputs}

    @property
    def _folder(self) -> str:
        """Where the files of the result lie in the project."""
        return f"{self._card.directory}/cryobridge" if self._request.files.writable else self._card.directory

    def _upload(self, name: str) -> None:
        """Send a file that is not there yet, and fetch it back: one that was cut off arrives without an error."""
        source = self._request.output / name
        size, digest = source.stat().st_size, _digest(source)
        trouble = ""
        # A process that was killed may have sent it already, and so may a try whose answer was lost.
        if self._has_arrived(name, digest):
            return
        for pause in (*UPLOAD_PAUSES_S, 0.0):
            try:
                self._server.upload(self._card.id, name, source, overwrite=True)
            except ServerRefused as error:
                if error.status < SERVERS_OWN_TROUBLE:
                    raise
                trouble = f" It says: {error}"
            if self._has_arrived(name, digest):
                return
            self._sleep(pause)
            self._check()
        raise BadResult(
            f"{self._card.id}: {name} ({size} bytes) does not arrive whole at the server; is its disk full?{trouble}"
        )

    def _has_arrived(self, name: str, digest: str) -> bool:
        back = self._request.files.work / "back"
        try:
            self._server.download(self._card.id.project, f"{self._folder}/{name}", back)
            return _digest(back) == digest
        except ServerRefused:
            return False
        except OSError as error:
            raise BadResult(
                f"{back}: {error.strerror} while {name} was fetched back to compare it; make room there, or set "
                "XDG_STATE_HOME to another disk"
            ) from error
        finally:
            back.unlink(missing_ok=True)

    def _outputs(self) -> None:
        request = self._request
        for line in publish(
            self._server, self._card, request.recipe, self._result, self._placed(), request.uids, self._check
        ):
            self._telling.say(line)

    def _adorn(self, deed: Callable[[], None]) -> None:
        """Add what is there to be looked at: where the server refuses it, that is no reason to lose a finished job."""
        try:
            deed()
        except ServerRefused as error:
            self._telling.say(f"left out: {error}", "warning")

    def _plot(self, figure: PageFigure) -> None:
        table = None
        if figure.table in self._result.outputs:
            # One that is too large, or gone, is not worth a finished job: the picture comes without its numbers.
            with contextlib.suppress(OSError):
                table = read_plain(self._request.output / figure.table, _MAX_TABLE_BYTES)
        self._server.plot(self._card.id, figure.title, figure.png, table)
        self._telling.say(figure.reading)

    def _tile(self, figure: PageFigure) -> None:
        self._server.set_tile(self._card.id, figure.png)
        for one in planned(self._request.recipe, self._result, self._placed())[:1]:
            self._server.set_output_image(self._card.id, one.group.name, figure.png)

    def _words(self) -> None:
        numbers = {key: value for key, value in self._result.metrics.items() if isinstance(value, int | float | str)}
        lines = [
            f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}" for key, value in numbers.items()
        ]
        self._telling.say("\n".join([*lines, f"all files: {self._folder}"]))
        for statement in self._result.statements:
            self._telling.say(statement)
        if "verdict" in numbers:
            self._telling.say(f"verdict: {numbers['verdict']}", "text" if numbers["verdict"] == "use" else "warning")


def _check_names(names: Iterable[str], folder: Path) -> None:
    """The folder lies in a project, where others may write; nothing outside of it is sent for what they wrote."""
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts or (folder / name).is_symlink():
            raise BadResult(f"{folder / RESULT_NAME}: names a file outside of its folder ({name[:80]!r}); run it again")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(open_plain(path), "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
