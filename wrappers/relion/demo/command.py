"""The demo as a command, `cryobridge demo`.

Simulates particles, refines them for a few iterations through the installed hook (which starts its own daemon), and
writes maps, figures and `report.html`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from cryobridge.schemas import wire

from . import final_maps, jobfiles, real_relion, refinement, report
from .particles import Particles, Recipe, simulate


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--output", default="demo-output", show_default=True, type=click.Path(path_type=Path))
@click.option("--particles", "n_particles", default=Recipe.n_particles, show_default=True, type=click.IntRange(20))
@click.option("--iterations", default=len(refinement.STAGES), show_default=True, type=click.IntRange(1, 6))
@click.option(
    "--steps",
    default=60,
    show_default=True,
    type=click.IntRange(1),
    help="Training steps of the job that corrects the last half-maps.",
)
@click.option(
    "--relion/--no-relion",
    "with_relion",
    default=None,
    help="Also run a real RELION refinement; default: where RELION is installed.",
)
def demo(output: Path, n_particles: int, iterations: int, steps: int, with_relion: bool | None) -> int:
    """Show cryobridge at work on a small simulated refinement (minutes on two CPU cores)."""
    if with_relion is None:
        with_relion = real_relion.available()
    if with_relion and not real_relion.available():
        raise click.ClickException("RELION is not installed (Debian, Ubuntu: apt install relion openmpi-bin)")
    hook = Path(sys.executable).with_name("cryobridge-relion")
    if not hook.exists():
        raise click.ClickException(f"{hook} is missing; install cryobridge into this Python first")
    output.mkdir(parents=True, exist_ok=True)
    with _private_daemon() as environment:
        corrected = _simulated(output, Recipe(n_particles=n_particles), iterations, steps, hook, environment)
        if with_relion:
            corrected = _with_relion(output / "relion", str(hook), environment) and corrected
    return wire.EXIT_OK if corrected else wire.EXIT_FAILED


def _simulated(
    output: Path, recipe: Recipe, n_iterations: int, steps: int, hook: Path, environment: dict[str, str]
) -> bool:
    click.echo(f"Simulating {recipe.n_particles} particles, box {recipe.box} ...")
    particles = simulate(recipe)
    project = _emptied(output / "project")
    refinement.prepare(project, particles)
    iterations, comparisons = [], []
    stages = refinement.STAGES[:n_iterations]
    # So small a data set wavers about the default gate of 15 A from iteration to iteration.
    environment = {**environment, "ISONET_START_RESOLUTION": f"{refinement.START_RESOLUTION_A:g}"}
    for iteration in refinement.refine(project, particles, [str(hook)], environment, stages):
        iterations.append(iteration)
        comparisons.append(report.compare(iteration, particles))
        click.echo(report.iteration_line(iteration, comparisons[-1]))
    page = output / "report.html"
    page.write_text(report.page(iterations, comparisons, particles))
    click.echo(report.summary(iterations, comparisons[-1]))
    click.echo(f"Report: {page.resolve()}\nMaps:   {(project / jobfiles.ROOT).parent.resolve()}")
    _correct_last_half_maps(project, output, hook, steps, particles, comparisons[-1].last_shell)
    if iterations[-1].corrected:
        return True
    click.echo("The last iteration was not corrected; its log says why:\n" + iterations[-1].log, err=True)
    return False


def _correct_last_half_maps(
    project: Path, output: Path, hook: Path, steps: int, particles: Particles, last_shell: int
) -> None:
    click.echo("The half-maps that the refinement leaves, corrected and judged by jobs of their own:")
    for command in final_maps.run_jobs(project, output, hook.with_name("cryobridge"), steps):
        click.echo(f"  $ cryobridge {' '.join(command.words)}\n    {command.output / 'report.html'}")
    click.echo(final_maps.summary(project, output / "corrected", particles, last_shell))


def _with_relion(project: Path, hook: str, environment: dict[str, str]) -> bool:
    click.echo("RELION is installed: running a real relion_refine_mpi through the hook (a few minutes) ...")
    particles = simulate(real_relion.RECIPE)
    refinement.prepare(_emptied(project), particles)
    run = real_relion.run(project, particles, hook, {**environment, **real_relion.EARLY_CORRECTION})
    for answer in run.answers:
        click.echo(f"  iteration {answer.iteration}, half {answer.half}: {answer.kind} map{answer.text.rstrip()}")
    click.echo(f"RELION: {run.iterations} iterations in {run.seconds:.0f} s, exit {run.exit_code}; {project.resolve()}")
    return run.converged and bool(run.corrected_iterations)


def _emptied(folder: Path) -> Path:
    """An empty folder that only ever holds the demo's own files."""
    mark = folder / ".cryobridge-demo"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise click.ClickException(f"{folder} holds files that are not the demo's; choose another --output")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()
    return folder


@contextlib.contextmanager
def _private_daemon() -> Iterator[dict[str, str]]:
    """Variables with which the hook starts a daemon of the demo's own; it is ended on leaving."""
    with tempfile.TemporaryDirectory(prefix="cryobridge-demo-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "daemon" / "socket"
        environment = {"CRYOBRIDGE_SOCKET": str(path), "XDG_STATE_HOME": str(Path(folder) / "state")}
        try:
            yield environment
        finally:
            _end_daemon(path)


def _end_daemon(path: Path, patience_s: float = 15.0) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
        pid, _, _ = wire.peer_uid(client)
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + patience_s
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.1)


def run() -> int:
    """Run the demo as a command; return its exit code.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C came.
    """
    # A kill by a time limit must not leave the daemon behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        code = demo.main(prog_name="demo", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else wire.EXIT_OK
