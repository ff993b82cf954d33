"""Writes deploy/grafana/dashboards/*.json: `make generate`.

A dashboard is a title, variables and a list of panels (`tools/dashboard_pages`). tests/stack runs
every query against the real servers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.dashboard_pages.incidents import INCIDENTS
from tools.dashboard_pages.kwitness import KWITNESS
from tools.dashboard_pages.parts import Dashboard
from tools.dashboard_pages.pipelines import PIPELINES
from tools.dashboard_pages.task import TASK

HERE = Path(__file__).parent.parent / "deploy/grafana/dashboards"
DASHBOARDS: dict[str, Dashboard] = {
    "pipelines": PIPELINES,
    "task": TASK,
    "incidents": INCIDENTS,
    "kwitness": KWITNESS,
}


def dashboard(name: str) -> dict[str, Any]:
    title, variables, panels = DASHBOARDS[name]
    x = y = row = 0
    laid: list[dict[str, Any]] = []
    for number, panel in enumerate(panels, 1):
        if x + panel.width > 24:
            x, y, row = 0, y + row, 0
        laid.append(panel.json(number, x, y))
        x, row = x + panel.width, max(row, panel.height)
    return {
        "uid": f"kwitness-{name}",
        "title": title,
        "tags": ["kwitness"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": list(variables)},
        "panels": laid,
        "links": [
            {
                "type": "dashboards",
                "tags": ["kwitness"],
                "title": "kwitness",
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
    }


def main() -> None:
    HERE.mkdir(parents=True, exist_ok=True)
    for name in DASHBOARDS:
        (HERE / f"{name}.json").write_text(json.dumps(dashboard(name), indent=1) + "\n")


if __name__ == "__main__":
    main()
