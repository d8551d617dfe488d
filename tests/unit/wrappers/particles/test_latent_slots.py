"""Latents as slots: what a card takes of a table, and that nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryobridge.wrappers.cryosparc.card.particle_rows import checked_rows, slots_of
from cryobridge.wrappers.formats.cs_table import read_table, write_table
from cryobridge.wrappers.particles.latent_slots import table_of_latents


def test_a_card_takes_latents_as_components(tmp_path: Path) -> None:
    latents = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)
    uids = np.array([2**63 + 5, 3, 9, 1, 7], np.uint64)
    write_table(tmp_path / "latents.cs", table_of_latents(uids, latents))
    columns = read_table(tmp_path / "latents.cs")
    assert [(slot.name, slot.dtype) for slot in slots_of(columns, "it")] == [
        (f"components_mode_{mode}", "components") for mode in range(3)
    ]
    assert checked_rows(columns, uids, "it").tolist() == uids.tolist()
    for mode in range(3):
        np.testing.assert_array_equal(columns[f"components_mode_{mode}/value"], latents[:, mode])
        assert set(columns[f"components_mode_{mode}/component"]) == {mode}
