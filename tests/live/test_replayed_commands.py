"""What a recorded command made live, its recording makes again elsewhere; with other rules,
it makes what these say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.replays import (
    CONFIG,
    OF_OTHERS,
    ROOT,
    SCRIPT,
    TASK,
    items,
    replay_elsewhere,
    same_metrics,
)

pytestmark = pytest.mark.live


@pytest.mark.parametrize("scope", ["command", "host"])
def test_a_recorded_command_with_a_rule_and_a_history(
    live: None, tmp_path: Path, scope: str
) -> None:
    (tmp_path / "rules.toml").write_text(CONFIG)
    (tmp_path / "job.sh").write_text(SCRIPT)
    for number in range(2):  # the second one has been seen before
        command = [
            sys.executable,
            "-m",
            "receiver",
            "record",
            "-o",
            f"{number}.kw",
            "-c",
            "rules.toml",
            "--history",
            "h.db",
            "--quiet",
            "--otlp-json",
            f"{number}.otlp",
            "--report",
            f"{number}.report",
            *(["--whole-host"] if scope == "host" else []),
            "--require",
            "--strict-output",
            "--",
            "sh",
            "job.sh",
        ]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OTEL_RESOURCE_ATTRIBUTES": "team=data"}
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 1, done.stderr
    replay_elsewhere(tmp_path / "else", tmp_path / "1.kw")
    told = (tmp_path / "1.report").read_bytes()
    assert (tmp_path / "else/report").read_bytes() == told
    assert json.loads(told)["seen_before"] == 1
    live_items, again = items(tmp_path / "1.otlp"), items(tmp_path / "else/otlp")
    assert again["resourceSpans"] == live_items["resourceSpans"]
    assert again["resourceLogs"] == live_items["resourceLogs"]
    text = str(again["resourceSpans"])
    assert f"--job={TASK}-orders" in text and "loader" in text and "team" in text
    same_metrics(live_items, again, besides=OF_OTHERS if scope == "command" else set())


def test_other_rules_on_old_facts(live: None, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(CONFIG)
    (tmp_path / "other.toml").write_text(CONFIG.replace('"loader"', '"mover"'))
    (tmp_path / "job.sh").write_text(SCRIPT)
    command = ["record", "-o", "x.kw", "-c", "rules.toml", "--quiet", "--", "sh", "job.sh"]
    command = [sys.executable, "-m", "receiver", *command]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, timeout=120, check=False)
    same = replay_elsewhere(tmp_path / "same", tmp_path / "x.kw", "--json")
    other = replay_elsewhere(
        tmp_path / "other", tmp_path / "x.kw", "--json", "-c", str(tmp_path / "other.toml")
    )
    spans = {
        name: str(items(tmp_path / name / "otlp")["resourceSpans"]) for name in ("same", "other")
    }
    assert '"loader"' in spans["same"] and '"mover"' not in spans["same"]
    assert '"mover"' in spans["other"] and '"loader"' not in spans["other"]
    assert len(same.splitlines()) == len(other.splitlines()) == 1
    # with a configuration, the standard variables hold as in a live run
    assert '"other"' not in spans["same"] and '"other"' in spans["other"]
