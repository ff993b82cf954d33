"""kwitness.toml: bad files are refused before anything is attached, with the line and
what to do."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.errors import ConfigError
from receiver.service.config import ServeConfig, load


def test_without_a_file_the_defaults_hold() -> None:
    assert load(None) == ServeConfig()


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "kwitness.toml"
    path.write_text(
        '[kernel]\nlifecycle_ring_bytes = 8192\n[core]\nredaction = "strip"\n[privileges]\n'
        "drop = false\n[admin]\nport = 0\n"
    )
    config = load(path)
    assert (config.kernel.lifecycle_ring_bytes, config.core.redaction, config.privileges.drop) == (
        8192,
        "strip",
        False,
    )


BAD = [
    ("[state]\ndirectory = '~/state'", "state.directory = '~/state': .*write the whole path"),
    ("[admin]\ntoken_file = '~root/token'", "admin.token_file = .*write the whole path"),
    ("[kernel]\nring = 1", r"line 2: unknown key ring; \[kernel\] knows lifecycle_ring_bytes"),
    ("ports = 1", "line 1: unknown key ports; the top level knows kernel, core"),
    ("[kernel]\nlifecycle_ring_bytes = 'big'", "line 2"),
    ("[kernel]\nlifecycle_ring_bytes = 5000", "power of two"),
    ("[kernel]\nbulk_ring_bytes = 0", "power of two"),
    ("[kernel]\nunwatched_ring_bytes = 2048", "kernel.unwatched_ring_bytes = 2048 must be"),
    (
        "[kernel]\ndrain_interval_seconds = 0",
        "kernel.drain_interval_seconds = 0 must be from 0.005 to 5",
    ),
    (
        "[kernel]\nsample_interval_seconds = 0",
        "kernel.sample_interval_seconds = 0 must be from 1 to 3600",
    ),
    ("[kernel]\nbatch_records = 0", "kernel.batch_records = 0 must be from 1 to 65536"),
    ("[kernel]\nsource = 'bcc'", "line 2"),
    (
        "[kernel.limits]\nfiles_per_process = -1",
        "kernel.limits.files_per_process = -1 must be from 0 to 65536",
    ),
    ("[kernel.limits]\nnoise_suffixes = ['py']", "'py' must be a dot"),
    ("[kernel.limits]\nnoise_suffixes = ['.tar.gz']", "'.tar.gz' must be a dot"),
    ("[kernel.limits]\nnoise_components = ['a-name-of-sixteen']", "must have 1 to 15 bytes"),
    ("[kernel.limits]\nnoise_prefixes = ['!']", "must have 1 to 63 bytes"),
    ("[kernel.limits]\nnoise = 1", r"unknown key noise; \[kernel.limits\] knows files_per_process"),
    ("[core]\nstall_seconds = -1", "line 2: core.stall_seconds = -1 must be from 0 to 86400"),
    ("[core]\nredaction = 'never'", "line 2"),
    ("[core]\nprocess_limit = 5", "core.process_limit = 5 must be from 1024 to"),
    ("[core]\nlinger_seconds = -1", "linger_seconds = -1 must be"),
    ("[admin]\nport = 70000", "admin.port = 70000 must be from 0 to 65535"),
    ("[admin]\nhost = '0.0.0.0'", "only loopback"),
    ("[admin", "end of a table declaration"),
    ("x = ", "Invalid value"),
    ("[core]\nexit_events = 'yes'", "line 2"),
    ("[privileges]\nuser = 5", "line 2"),
    ("[privileges]\nconfine = 'some'", "line 2"),
    (
        "[privileges]\nhelp = 'x'",
        r"\[privileges\] knows drop, user, helper, helper_user, confine, readable",
    ),
    ("[privileges]\nreadable = ['/']", "'/' must be an absolute path below /"),
    ("[privileges]\nreadable = ['venvs']", "'venvs' must be an absolute path below /"),
    ("[[rule]]\nsystem = 's'\npipeline = 'p'", "rule 1 .s/p.: matches nothing"),
    ("[[rule]]\nsystem = 's'\npipeline = 'p'\nenvironment = 'API_TOKEN'", "a secret"),
    (
        "[[rule]]\nsystem = 's'\npipeline = 'p'\nargs = 'x'",
        r"unknown key args; \[\[rule\]\] knows system, pipeline",
    ),
    ("[[rule]]\nsystem = 's'", "missing required field"),
    (
        "[[rule]]\nsystem = 's'\npipeline = 'p'\nargv = 'x'\n" * 65,
        "rule has 65 entries, there is room for 64",
    ),
    ("[core]\norchestrator = 'nowhere'", "line 2"),
    ("shutdown_seconds = nan", "shutdown_seconds = nan must be from 0 to 3600"),
    ("shutdown_seconds = inf", "shutdown_seconds = inf must be from 0 to 3600"),
    ("shutdown_seconds = -1", "shutdown_seconds = -1 must be from 0 to 3600"),
    ("shutdown_seconds = 1e400", "shutdown_seconds = inf must be"),
    (
        "[admin]\nport = " + "9" * 40,
        "admin.port = a number of more than 64 bits must be from 0 to 65535",
    ),
    ("[admin]\nport = " + "9" * 5000, "Exceeds the limit|4300 digits"),
    ("x = " + "[" * 100_000, "nested too deeply"),
    ("x = " + "{a=" * 100_000, "nested too deeply"),
    ('[state]\ndirectory = "a\\u0000b"', "state.directory holds a control character"),
    ('[privileges]\nuser = "a\\nb"', "privileges.user holds a control character"),
    (
        '[core]\nresource_attributes = [["a\\u001b", "b"]]',
        "core.resource_attributes holds a control character",
    ),
    (
        '[core]\nresource_attributes = [["a", 18446744073709551616]]',
        "core.resource_attributes is a number of more than 64 bits",
    ),
    ("[admin]\nport = true", "line 2: admin.port: Expected `int`, got `bool`"),
    ("[core]\nport = 1\n[admin]\nport = 70000", "line 2: unknown key port"),
    ("[run]\nstatus = true\n[admin]\nhost = 'localhost'\nport = 70000", "line 5: admin.port"),
    ("[[rule]]\nsystem = 5\npipeline = 'p'", "line 2: rule.system: Expected `str`, got `int`"),
    ("kernel = 5", "line 1: kernel: Expected `object`, got `int`"),
    ("[privileges]\nreadable = 'x'", "line 2: privileges.readable: Expected `array`"),
    ("[privileges]\nreadable = ['//']", "'//' must be an absolute path below /"),
    ('[core]\nresource_attributes = [["a"]]', "line 2: core.resource_attributes: Expected `array`"),
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


def _numbers(kind: type[msgspec.Struct], where: str = "") -> Iterator[tuple[str, object]]:
    """Every number of a struct of settings, and of those inside, with its type."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from _numbers(hint, f"{where}{name}.")
        elif getattr(hint, "__origin__", hint) in (int, float):
            yield where + name, hint


@pytest.mark.parametrize(
    ("name", "hint"), list(_numbers(ServeConfig)), ids=lambda v: v if isinstance(v, str) else ""
)
def test_every_number_has_bounds_and_says_them(tmp_path: Path, name: str, hint: Any) -> None:
    """A new setting gets them in its type: Annotated[float, msgspec.Meta(ge=…, le=…)]."""
    assert get_origin(hint) is Annotated, f"{name} has no bounds"
    (meta,) = hint.__metadata__
    path = tmp_path / "kwitness.toml"
    section, _, key = name.rpartition(".")
    whole = hint.__origin__ is int
    bad = [meta.ge - 1, meta.le + 1, -(2**63), 2**70] + (
        [] if whole else ["nan", "inf", "-inf", "1e400"]
    )
    for value in bad:
        path.write_text((f"[{section}]\n" if section else "") + f"{key} = {value}\n")
        with pytest.raises(
            ConfigError, match=re.escape(name) + r" = .* must be .*from .* to \S+$"
        ) as caught:
            load(path)
        assert str(caught.value).isprintable()
    for value in (meta.ge, meta.le):
        path.write_text((f"[{section}]\n" if section else "") + f"{key} = {value}\n")
        load(path)


def test_what_is_no_regular_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(link)
    for path, message in (
        (fifo, "not a regular file"),
        (tmp_path, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (link, "symbolic links"),
        (tmp_path / ("x" * 300), "too long"),
        (tmp_path / "a\nb", r"a\\x0ab: No such file"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            load(path)
        assert str(caught.value).isprintable()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")))
def test_any_bytes_are_settings_or_one_line(raw: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(raw)
        file.flush()
        try:
            load(Path(file.name))
        except ConfigError as error:
            assert str(error).isprintable()


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "kwitness.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(path)
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigError, match="1024 KiB"):
        load(path)
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "none")
