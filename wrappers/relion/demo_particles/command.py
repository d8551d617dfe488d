"""The command `cryobridge demo-particles`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from cryobridge.schemas import wire

from .mixture import MixtureRecipe, simulate_mixture
from .project import MARK, STAR, TRUTH, claim_folder, write_project


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-o", "--output", default="demo-particles", show_default=True, type=click.Path(path_type=Path))
@click.option("--particles", default=MixtureRecipe.n_particles, show_default=True, type=click.IntRange(20, 100_000))
@click.option("--seed", default=MixtureRecipe.seed, show_default=True, type=click.IntRange(0))
def demo_particles(output: Path, particles: int, seed: int) -> int:
    """Write a small RELION project whose particles are in two states, to try the jobs on heterogeneity."""
    with _told(output):
        if output.exists() and any(output.iterdir()) and not (output / MARK).exists():
            raise click.ClickException(f"{output} holds files that are not the demo's; choose another --output")
        # Before the simulation, which takes a while.
        claim_folder(output)
    click.echo(f"Simulating {particles} particles ...")
    mixture = simulate_mixture(MixtureRecipe(n_particles=particles, seed=seed))
    with _told(output):
        write_project(output, mixture)
    click.echo(
        f"Particles: {(output / STAR).resolve()}\n"
        f"Which particle is in which state: {(output / TRUTH).resolve()} (no job reads it)"
    )
    return wire.EXIT_OK


@contextmanager
def _told(output: Path) -> Iterator[None]:
    """Errors of the file system in one sentence."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            f"{output} cannot be written: {error.strerror or error}; choose another --output"
        ) from error


def run() -> int:
    """Run the command; return its exit code."""
    try:
        code = demo_particles.main(prog_name="demo-particles", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else wire.EXIT_OK
