"""The user's own rules on the real kernel, and the explanation of what decided."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.live.commands import NO_CAPS, run
from tests.waiting import executed

pytestmark = pytest.mark.live


def test_each_task_has_a_line_when_it_starts_and_rules_name_it(live: None, tmp_path: Path) -> None:
    rules = tmp_path / "kwitness.toml"
    rules.write_text(
        "[[rule]]\nname = 'my loader'\nenvironment = 'LOADER_JOB'\nsystem = 'loader'\n"
        "pipeline = 'landing'\n"
        "task = 'load {0}'\nrun = '{LOADER_JOB}'\n"
    )
    done = run(
        "run", "--live", "-c", str(rules), "--", "sh", "-c", "sleep 0.3; true", LOADER_JOB="77"
    )
    told = [
        re.sub(r"^kwitness +[\d.]+ s +", "", line)
        for line in done.stderr.splitlines()
        if line.startswith("kwitness  ") and " starts" in line
    ]
    assert told == ["command task sh starts", "loader task load 77 of landing starts (probable)"]
    assert "◆ loader task load 77 of landing" in done.stderr


def test_explain_says_which_rule_decided(live: None, tmp_path: Path) -> None:
    rules = tmp_path / "kwitness.toml"
    rules.write_text(
        "[[rule]]\nname = 'sleepers'\nexecutable = '*/sleep'\nsystem = 'naps'\n"
        "pipeline = 'afternoon'\n"
    )
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        executed(sleeper.pid)
        done = run("check", "--explain", str(sleeper.pid), "-c", str(rules))
    finally:
        sleeper.kill()
        sleeper.wait()
    assert done.returncode == 0, done.stderr
    assert "by argv: the rule 'sleepers'" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("is attributed to: job sleep of naps afternoon")
    assert run("check", "--explain", "4000000").returncode == 64


def test_explain_reads_recordings_without_privileges() -> None:
    done = run("check", "--explain", "tests/scenarios/frameworks/dbt.kw", before=NO_CAPS)
    assert done.returncode == 0 and "model users_export of dbt shop" in done.stdout
