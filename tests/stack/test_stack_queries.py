"""Panels and alerts of deploy/grafana: the servers understand each query, and the demo fills it."""

from __future__ import annotations

import pytest
import yaml

from tests.conftest import missing
from tests.stack.conftest import Stack, eventually
from tests.stack.images import ROOT
from tools.dashboards import DASHBOARDS

pytestmark = pytest.mark.stack
# what a demo without a network, without losses and without a hang leaves empty
_QUIET = {
    "Network",
    "Connections",
    "Hangs and stalled connections",
    "Lost",
    "Lost events",
    "Calls that failed",
}


def filled(query: str) -> str:
    for name, value in (
        ("$pipeline", ".*"),
        ("$task", ".*"),
        ("$__range", "2h"),
        ("$__rate_interval", "10m"),
    ):
        query = query.replace(name, value)
    return query


@pytest.mark.parametrize(
    ("board", "title"), [(b, p.title) for b, (_, _, panels) in DASHBOARDS.items() for p in panels]
)
def test_every_panel_asks_what_the_servers_understand(stack: Stack, board: str, title: str) -> None:
    panel = next(p for p in DASHBOARDS[board][2] if p.title == title)
    if panel.source["type"] == "loki" and not stack.has_loki:
        missing("loki", "no Loki is here")

    def asked() -> bool:
        found = [
            stack.logs(filled(q))
            if panel.kind == "logs"
            else stack.ask_loki(filled(q))
            if panel.source["type"] == "loki"
            else stack.metric(filled(q))
            for q, _ in panel.queries
        ]
        return any(found) or title in _QUIET

    eventually(asked, 150, title)


def test_every_alert_asks_what_the_servers_understand(stack: Stack) -> None:
    file = yaml.safe_load((ROOT / "deploy/grafana/provisioning/alerting/kwitness.yaml").read_text())
    fired, unasked = set(), set()
    for rule in file["groups"][0]["rules"]:
        (data,) = rule["data"]
        query = data["model"]["expr"].replace("[5m]", "[2h]")
        if data["datasourceUid"] == "loki" and not stack.has_loki:
            unasked.add(rule["uid"])
            continue
        found = stack.ask_loki(query) if data["datasourceUid"] == "loki" else stack.metric(query)
        fired |= {rule["uid"]} if found else set()
    assert (
        fired >= {"kwitness-oom", "kwitness-partial-write", "kwitness-masked"} - unasked
        and "kwitness-losses" not in fired
        and "kwitness-silent" not in fired
    )
