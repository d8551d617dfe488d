"""Runs of cryoDRGN: opened without running anything they hold, and written so that it opens ours."""

from .reading import PeerRun, is_peer_run, read_peer_latents, read_peer_run
from .writing import peer_config, peer_latents, peer_weights

__all__ = [
    "PeerRun",
    "is_peer_run",
    "peer_config",
    "peer_latents",
    "peer_weights",
    "read_peer_latents",
    "read_peer_run",
]
