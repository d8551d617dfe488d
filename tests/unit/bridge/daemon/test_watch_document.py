"""docs/how-to/watch.md says what there is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from cryobridge.bridge.daemon.metrics import Metrics
from cryobridge.bridge.daemon.news import News
from cryobridge.bridge.daemon.rights import Rights
from cryobridge.schemas.news import NewsTable, What

TEXT = (Path(__file__).parents[4] / "docs" / "how-to" / "watch.md").read_text()


def test_every_figure_is_in_the_table_with_its_labels() -> None:
    registry = Metrics(News(Rights(), lambda: 0.0), [], "1").registry
    there = {}
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        (metric,) = [one for one in registry._collector_to_names if one._name == family.name]
        there[name] = set(metric._labelnames)
    rows = re.findall(r"^\| `(cryobridge_\w+)` \|([^|]*)\|", TEXT, re.MULTILINE)
    assert {name: set(re.findall(r"\w+", labels)) for name, labels in rows} == there


def test_alerts_are_made_of_figures_that_there_are() -> None:
    block = TEXT.partition("## Alerts\n")[2].partition("\nThe first one")[0]
    rules = yaml.safe_load(block)["groups"][0]["rules"]
    figures = set(re.findall(r"^\| `(cryobridge_\w+)`", TEXT, re.MULTILINE))
    assert len(rules) > 4
    for rule in rules:
        named = set(re.findall(r"cryobridge_\w+", rule["expr"]))
        assert {name.removesuffix("_count") if name not in figures else name for name in named} <= figures


def test_every_table_and_word_of_an_event_is_told() -> None:
    told = set(re.findall(r"`(\w+)`", TEXT.partition("## Events\n")[2].partition("\n## Prometheus")[0]))
    assert {*NewsTable, *What} <= told
