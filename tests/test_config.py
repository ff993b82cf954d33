"""kwitness.toml: bad files are refused before anything is attached, with the line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.config import ServeConfig, load
from receiver.errors import ConfigError


def test_without_a_file_the_defaults_hold() -> None:
    assert load(None) == ServeConfig()


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "kwitness.toml"
    path.write_text(
        '[kernel]\nlifecycle_ring_bytes = 8192\n[core]\nredaction = "strip"\n[privileges]\ndrop = false\n[admin]\nport = 0\n'
    )
    config = load(path)
    assert (config.kernel.lifecycle_ring_bytes, config.core.redaction, config.privileges.drop) == (8192, "strip", False)


BAD = [
    ("[kernel]\nring = 1", r"line 2: unknown key ring; \[kernel\] knows lifecycle_ring_bytes"),
    ("ports = 1", "line 1: unknown key ports; the top level knows kernel, core"),
    ("[kernel]\nlifecycle_ring_bytes = 'big'", "line 2"),
    ("[kernel]\nlifecycle_ring_bytes = 5000", "power of two"),
    ("[kernel]\nbulk_ring_bytes = 0", "power of two"),
    ("[kernel]\nunwatched_ring_bytes = 2048", "power of two"),
    ("[kernel]\ndrain_interval_seconds = 0", "drain_interval_seconds must be"),
    ("[kernel]\nsample_interval_seconds = 0", "sample_interval_seconds must be"),
    ("[kernel]\nbatch_records = 0", "batch_records must be"),
    ("[kernel]\nsource = 'bcc'", "line 2"),
    ("[kernel.limits]\nfiles_per_process = -1", "files_per_process must be from 0 to 65536"),
    ("[kernel.limits]\nnoise_suffixes = ['py']", "'py' must be a dot"),
    ("[kernel.limits]\nnoise_suffixes = ['.tar.gz']", "'.tar.gz' must be a dot"),
    ("[kernel.limits]\nnoise_components = ['a-name-of-sixteen']", "must have 1 to 15 bytes"),
    ("[kernel.limits]\nnoise_prefixes = ['!']", "must have 1 to 63 bytes"),
    ("[kernel.limits]\nnoise = 1", r"unknown key noise; \[kernel.limits\] knows files_per_process"),
    ("[core]\nstall_seconds = -1", "stall_seconds must be"),
    ("[core]\nredaction = 'never'", "line 2"),
    ("[core]\nprocess_limit = 5", "at least 1024"),
    ("[core]\nlinger_seconds = -1", "linger_seconds must be"),
    ("[admin]\nport = 70000", "admin.port must be"),
    ("[admin]\nhost = '0.0.0.0'", "only loopback"),
    ("[admin", "end of a table declaration"),
    ("x = ", "Invalid value"),
    ("[core]\nexit_events = 'yes'", "line 2"),
    ("[privileges]\nuser = 5", "line 2"),
    ("[[rule]]\nsystem = 's'\npipeline = 'p'", "rule 1 .s/p.: matches nothing"),
    ("[[rule]]\nsystem = 's'\npipeline = 'p'\nenvironment = 'API_TOKEN'", "a secret"),
    ("[[rule]]\nsystem = 's'\npipeline = 'p'\nargs = 'x'", r"unknown key args; \[\[rule\]\] knows system, pipeline"),
    ("[[rule]]\nsystem = 's'", "missing required field"),
    ("[[rule]]\nsystem = 's'\npipeline = 'p'\nargv = 'x'\n" * 65, "65 rules, there is room for 64"),
    ("[core]\norchestrator = 'nowhere'", "line 2"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "kwitness.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_variable_that_a_rule_names_may_leave_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "kwitness.toml"
    path.write_text("[[rule]]\nsystem = 's'\npipeline = 'p'\nenvironment = 'LOADER_JOB'\n")
    assert load(path).kernel.environment == ("LOADER_JOB",)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "kwitness.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(path)
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigError, match="1 MiB"):
        load(path)
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none")
