"""Every command that the documents show is run by some test, or by CI; links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "examples/README.md",
]
CI = (ROOT / ".ci/run").read_text()
# beginning of a command → who runs it: a test, or a line of .ci/run
RUN_BY = {
    "make demo": "CI make demo",
    "make test ": "CI make test",
    "make test": "CI make test",
    "make wheel": "CI make wheel",
    "make up": "tests/stack/test_stack.py::test_jaeger_shows_run_task_and_process",
    "COMPOSE_PROFILES=": (
        "tests/stack/test_stack.py::test_victorialogs_finds_the_kill_by_the_name_of_its_task"
    ),
    "make demo-stack": "tests/stack/test_stack.py::test_jaeger_shows_run_task_and_process",
    "make down": "tests/stack/conftest.py::stack",
    ".venv/bin/kwitness check --explain": (
        "tests/live/test_rules.py::test_explain_reads_recordings_without_privileges"
    ),
    ".venv/bin/kwitness check": "tests/live/test_refusals.py::test_check_says_ready",
    ".venv/bin/kwitness run --report": "tests/live/test_run.py::test_run_as_json_and_as_report",
    ".venv/bin/kwitness run --live": (
        "tests/live/test_rules.py::test_each_task_has_a_line_when_it_starts_and_rules_name_it"
    ),
    ".venv/bin/kwitness run": "tests/live/test_run.py::test_run_gives_the_commands_own_status",
    "mkdir -p /tmp/otel": "tests/e2e/collector.py::Collector",
    "OTELCOL_OUTPUT=": "tests/e2e/collector.py::Collector",
    "OTEL_EXPORTER_OTLP_ENDPOINT=": "tests/frameworks/test_incidents.py::incident",
    'curl -s -H "Authorization': "tests/stack/test_stack.py::test_an_incident_is_told_to_everybody",
    "curl -s http://127.0.0.1:9464/tree": "tests/admin/test_endpoint.py::test_",
    "sudo OTEL_EXPORTER": (
        "tests/live/test_unit.py::test_it_serves_with_two_capabilities_and_tells_its_supervisor"
    ),
    "sudo python3 -m venv": "tests/deploy/test_wheel.py::test_it_runs_from_where_it_is_installed",
    "sudo install": "tests/deploy/test_manifests.py::test_the_unit_is_confined",
    "sudo systemctl enable": (
        "tests/live/test_unit.py::test_it_serves_with_two_capabilities_and_tells_its_supervisor"
    ),
    "docker-compose exec": "tests/stack/test_stack.py::test_an_incident_is_told_to_everybody",
    "examples/run.py": "tests/frameworks/test_incidents.py::incident",
    "sudo examples/run.py": "tests/frameworks/test_incidents.py::incident",
    "kwitness run": "tests/live/test_run.py::test_run_gives_the_commands_own_status",
    "kwitness incidents": "tests/admin/test_alerts.py::test_",
    "kwitness replay": "tests/deploy/test_wheel.py::test_it_runs_from_where_it_is_installed",
}


def commands() -> list[tuple[str, str]]:
    out = []
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            out += [
                (page.name, line.partition(" #")[0].strip())
                for line in lines
                if line.strip() and not line.startswith("#")
            ]
    return out


@pytest.mark.parametrize(("page", "command"), commands())
def test_every_command_of_the_documents_is_run(page: str, command: str) -> None:
    who = next(
        (
            RUN_BY[start]
            for start in sorted(RUN_BY, key=len, reverse=True)
            if command.startswith(start)
        ),
        None,
    )
    assert who is not None, f"{page}: nothing runs {command!r}"
    if who.startswith("CI "):
        assert who[3:] in CI.splitlines()
    else:
        file, _, name = who.partition("::")
        assert re.search(rf"(def|class) {re.escape(name)}", (ROOT / file).read_text()), who


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_each_test_that_the_security_page_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text())
    assert len(named) >= 30
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^ *(?:async )?def {name}\(", read(file), re.MULTILINE)
    ]
    assert not missing


def test_each_line_of_what_cannot_be_done_names_its_test() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    parts = [part for part in page.split("## ") if "| a hostile user cannot |" in part]
    rows = [
        row
        for part in parts
        for row in part.splitlines()
        if row.startswith("| ") and "shown by" not in row
    ]
    assert len(parts) == 3 and len(rows) >= 15
    assert [row for row in rows if "::test_" not in row] == []


def read(file: str) -> str:
    path = ROOT / file
    return path.read_text() if path.exists() else ""
