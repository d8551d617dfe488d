"""What a finished job brings to its card: files, outputs, pictures, and words, each step known by a name."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cryobridge.schemas.envelope import RESULT_NAME
from cryobridge.schemas.errors import BadResult
from cryobridge.schemas.plain_file import open_plain, read_plain
from cryobridge.schemas.result import read_result

from .documents import Card
from .figures import PageFigure, figures_of
from .outputs import Placed, publish
from .request import Request
from .server import Server
from .telling import Telling

REPORT_NAME = "report.html"
_CHUNK_BYTES = 1 << 20
_MAX_TABLE_BYTES = 16 * 1024 * 1024
_UPLOAD_TRIES = 3

Step = tuple[str, Callable[[], None]]


class Publishing:
    """Brings one result to one card.

    Parameters
    ----------
    check
        Called before each output; raises where nobody wants it any more.
    """

    def __init__(
        self, server: Server, card: Card, request: Request, telling: Telling, check: Callable[[], None]
    ) -> None:
        self._server = server
        self._card = card
        self._request = request
        self._telling = telling
        self._check = check
        self._result = read_result(request.output)
        _check_names(self._result.outputs, request.output)

    def steps(self) -> Iterator[Step]:
        """Name and deed of each step, in order; those whose name is known to be done are left out by the caller."""
        if not self._request.files.writable:
            for name in [*self._uploaded_names(), RESULT_NAME]:
                yield f"file {name}", lambda name=name: self._upload(name)  # type: ignore[misc]
        yield "outputs", self._outputs
        yield "checkpoint", lambda: self._server.checkpoint(self._card.id, {"stage": "results"})
        figures = figures_of(self._request.output / REPORT_NAME) if REPORT_NAME in self._result.outputs else []
        for number, figure in enumerate(figures, 1):
            yield f"figure {number}", lambda figure=figure: self._plot(figure)  # type: ignore[misc]
        if figures:
            tile = next((one for one in figures if one.is_tile), figures[0])
            yield "tile", lambda: self._tile(tile)
        yield "words", self._words

    def _uploaded_names(self) -> list[str]:
        return sorted(self._result.outputs)

    def _placed(self) -> dict[str, Placed]:
        folder = self._folder
        return {name: Placed(self._request.output / name, f"{folder}/{name}") for name in self._result.outputs}

    @property
    def _folder(self) -> str:
        """Where the files of the result lie in the project."""
        return f"{self._card.directory}/cryobridge" if self._request.files.writable else self._card.directory

    def _upload(self, name: str) -> None:
        """Send a file, and fetch it back: one that was cut off on its way arrives without an error."""
        source = self._request.output / name
        digest = _digest(source)
        back = self._request.files.work / "back"
        for _ in range(_UPLOAD_TRIES):
            self._server.upload(self._card.id, name, source, overwrite=True)
            self._server.download(self._card.id.project, f"{self._folder}/{name}", back)
            arrived = _digest(back)
            back.unlink()
            if arrived == digest:
                return
        raise BadResult(f"{self._card.id}: {name} does not arrive whole at the server; is its disk full?")

    def _outputs(self) -> None:
        request = self._request
        for line in publish(
            self._server, self._card, request.recipe, self._result, self._placed(), request.uids, self._check
        ):
            self._telling.say(line)

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
        for group in self._request.recipe.outputs[:1]:
            self._server.set_output_image(self._card.id, group.name, figure.png)

    def _words(self) -> None:
        numbers = {key: value for key, value in self._result.metrics.items() if isinstance(value, int | float | str)}
        lines = [
            f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}" for key, value in numbers.items()
        ]
        self._telling.say("\n".join([*lines, f"all files: {self._folder}"]))
        for statement in self._result.statements:
            self._telling.say(statement, "warning")


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
