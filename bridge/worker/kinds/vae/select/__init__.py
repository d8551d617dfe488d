"""`vae.select`: particles chosen by what was found of them, as tables that go back into RELION and CryoSPARC."""

from .job import run

__all__ = ["run"]
