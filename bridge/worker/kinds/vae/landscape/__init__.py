"""`vae.landscape`: the states that a trained model's volumes fall into."""

from .job import run

__all__ = ["run"]
