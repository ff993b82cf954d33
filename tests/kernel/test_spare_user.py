from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.kernel import spare_user
from receiver.kernel.confinement import Confinement, survey
from receiver.kernel.privileges import UserIdentity, account
from receiver.kernel.spare_user import SPARE, helper_user, ids_in_use, service_user
from tests.conftest import missing

NOBODY = account("nobody")


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        missing("live", "needs root")


def test_without_a_name_it_is_one_that_nobody_has(root: None) -> None:
    found = helper_user("", NOBODY)
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
            assert helper_user("", NOBODY).identity == UserIdentity(free, free)
        monkeypatch.setattr(spare_user, "SPARE", range(process, named + 1))
        found = helper_user("", NOBODY)
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
    found = helper_user("", NOBODY)
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
    assert helper_user("daemon", NOBODY).identity == UserIdentity(daemon.pw_uid, daemon.pw_gid)
    assert "is the user of the service" in helper_user("nobody", NOBODY).shared
    with pytest.raises(ConfigError, match=r"privileges\.helper_user"):
        helper_user("nobody-at-all", NOBODY)


def test_who_is_not_root_stays_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert helper_user("", NOBODY).identity is None


@pytest.fixture
def without_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_user, "ACCOUNT", "kwitness-of-no-host")


def test_the_service_has_a_user_of_its_own_which_its_helper_does_not_have(
    root: None, without_account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = service_user("")
    assert found.identity is not None and found.shared == ""
    assert found.identity.uid in SPARE and found.identity.uid not in ids_in_use()
    monkeypatch.setattr(spare_user, "SPARE", range(found.identity.uid, found.identity.uid + 1))
    # it runs as root still, so no process has that user yet
    assert helper_user("", found.identity).shared == "all spare users are in use"


def test_the_account_is_the_services_user(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_user, "ACCOUNT", "daemon")
    assert service_user("").identity == account("daemon")
    assert service_user("games").identity == account("games")
    with pytest.raises(ConfigError, match=r"privileges\.user"):
        service_user("nobody-at-all")


def test_the_owner_of_a_state_directory_stays_the_user(
    root: None, without_account: None, tmp_path: Path
) -> None:
    place = tmp_path / "state"
    place.mkdir()
    found = service_user("", str(place)).identity
    assert found is not None and found.uid in SPARE  # root is not a user to become
    os.chown(place, SPARE[7], SPARE[7])
    assert service_user("", str(place)) == spare_user.OwnUser(UserIdentity(SPARE[7], SPARE[7]))
    sleeper = subprocess.Popen(["sleep", "60"], user=SPARE[7])
    try:
        assert "runs" in service_user("", str(place)).shared
    finally:
        sleeper.kill()
        sleeper.wait()
    os.chown(place, 12345, 12345)  # of a person
    found = service_user("", str(place)).identity
    assert found is not None and found.uid in SPARE
    os.chown(place, NOBODY.uid, NOBODY.gid)
    kept = service_user("", str(place))
    assert kept.identity == NOBODY and "belongs to nobody" in kept.shared


def test_a_user_that_others_have_is_said_at_start_and_by_check(
    root: None, without_account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare_user, "_mapped", lambda _: set())
    found = service_user("")
    assert found.identity == NOBODY and "maps no user" in found.shared
    guard = Confinement(service=found, on=False)
    assert "can stop it" in guard.notes[0]
    assert "maps no user" in survey("", "").service_shared
    assert "other services" in survey("nobody", "").service_shared
    monkeypatch.undo()
    assert not survey("", "").service_shared
