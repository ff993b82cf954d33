from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.kernel import spare_user
from receiver.kernel.privileges import Identity
from receiver.kernel.spare_user import SPARE, helper_user, ids_in_use
from tests.conftest import missing


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        missing("live", "needs root")


def test_without_a_name_it_is_one_that_nobody_has(root: None) -> None:
    found = helper_user("", "nobody")
    assert found.identity is not None and found.shared == ""
    assert found.identity.uid == found.identity.gid and found.identity.uid in SPARE
    assert found.identity.uid not in ids_in_use()
    with pytest.raises(KeyError):
        pwd.getpwuid(found.identity.uid)


def test_one_that_a_process_or_an_account_has_is_passed_over(
    root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, named, free = SPARE[0], SPARE[1], SPARE[2]
    monkeypatch.setattr(spare_user, "SPARE", range(process, free + 1))
    monkeypatch.setattr(spare_user, "_has_account", lambda uid: uid == named)
    sleeper = subprocess.Popen(["sleep", "60"], user=process)
    try:
        for _ in range(20):  # wherever the search begins
            assert helper_user("", "nobody").identity == Identity(free, free)
        monkeypatch.setattr(spare_user, "SPARE", range(process, named + 1))
        found = helper_user("", "nobody")
        assert found.identity is not None and found.identity.uid == pwd.getpwnam("nobody").pw_uid
        assert found.shared == "all spare users are in use"
    finally:
        sleeper.kill()
        sleeper.wait()


def test_saved_and_real_users_and_groups_count(tmp_path: Path) -> None:
    for pid, ids in (("1", "0\t0\t7\t0"), ("22", "5\t0\t0\t0")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "status").write_text(f"Name:\tx\nUid:\t{ids}\nGid:\t{pid}\t9\t9\t9\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "33").mkdir()  # gone meanwhile
    assert ids_in_use(tmp_path) == {0, 1, 5, 7, 9, 22}


def test_in_a_small_user_namespace_it_is_the_services_user_and_says_so(
    root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare_user, "_mapped", lambda _: set())
    found = helper_user("", "nobody")
    assert found.identity is not None and found.identity.uid == pwd.getpwnam("nobody").pw_uid
    assert "maps no user" in found.shared


def test_maps_are_read_as_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in (
        ("0 0 4294967295\n", set(SPARE)),
        ("0 100000 60579\n", {60_578}),
        ("0 1000 1\n", set()),
        ("", set()),
    ):
        monkeypatch.setattr(Path, "read_text", lambda _, text=text: text)
        assert spare_user._mapped("uid") == expected


def test_a_named_user(root: None) -> None:
    daemon = pwd.getpwnam("daemon")
    assert helper_user("daemon", "nobody").identity == Identity(daemon.pw_uid, daemon.pw_gid)
    assert "is the user of the service" in helper_user("nobody", "nobody").shared
    with pytest.raises(ConfigError, match=r"privileges\.helper_user"):
        helper_user("nobody-at-all", "nobody")


def test_who_is_not_root_stays_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert helper_user("", "nobody").identity is None
