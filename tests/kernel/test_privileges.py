"""What is left after a drop, read back from the kernel by somebody else:
/proc/PID/status of a child that waits."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from receiver.errors import ConfigError, PrivilegeError
from receiver.kernel import privileges
from receiver.kernel.privileges import (
    CAP_BPF,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    Privileges,
    UserIdentity,
    account,
    mismatches,
)
from tests.conftest import missing

ROOT = Path(__file__).parent.parent.parent
NOBODY = pwd.getpwnam("nobody")
BOTH = 1 << CAP_BPF | 1 << CAP_PERFMON
CLEAN = Privileges(
    users=(7, 7, 7),
    groups=(),
    effective=0,
    permitted=0,
    inheritable=0,
    bounding=0,
    ambient=0,
    securebits=0b11101011,
    no_new_privs=True,
    dumpable=False,
)


WITH_GROUPS = ("setpriv", "--groups=4,24")  # root may have none, and then none are left


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        missing("live", "needs root and setpriv (util-linux)")


@contextmanager
def child(code: str, *before: str) -> Iterator[dict[str, str]]:
    """Fields of its /proc/PID/status once it has run `code`."""
    source = f"from receiver.kernel.privileges import *\n{code}\nprint('done', flush=True)\ninput()"
    command = [*before, sys.executable, "-c", source]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line != "done\n":
            yield {"error": process.communicate()[1].strip().splitlines()[-1]}
            return
        status = Path(f"/proc/{process.pid}/status").read_text()
        fields = dict(re.findall(r"^(\w+):[ \t]*(.*)$", status, re.M))
        fields["owner"] = str(os.stat(f"/proc/{process.pid}/environ").st_uid)
        yield fields
    finally:
        if process.returncode is None:
            process.communicate("\n")


def sets(fields: dict[str, str]) -> list[int]:
    return [int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]


def test_drop_leaves_nothing(root: None) -> None:
    with child("drop('nobody')", *WITH_GROUPS) as found:
        assert found["Uid"].split() == [str(NOBODY.pw_uid)] * 4
        assert found["Gid"].split() == [str(NOBODY.pw_gid)] * 4
        assert found["Groups"] == ""
        assert sets(found) == [0, 0, 0, 0, 0]
        assert found["NoNewPrivs"] == "1"
        assert found["owner"] == "0"  # not dumpable: what is secret in /proc belongs to root


def test_the_helper_keeps_two_capabilities_under_a_user_of_its_own(root: None) -> None:
    with child("keep_what_attaches(UserIdentity(60600, 60600))", *WITH_GROUPS) as found:
        assert found["Uid"].split() == found["Gid"].split() == ["60600"] * 4
        assert sets(found) == [0, BOTH, BOTH, 0, 0]
        assert (found["NoNewPrivs"], found["owner"], found["Groups"]) == ("1", "0", "")


def test_without_a_name_it_is_nobody(root: None) -> None:
    with child("keep_what_attaches()") as found:
        assert found["Uid"].split() == [str(NOBODY.pw_uid)] * 4


def test_as_the_unit_starts_it_its_user_stays(root: None) -> None:
    """No root, two ambient capabilities, no CAP_SETPCAP: the bounding set is the
    supervisor's to empty."""
    # the third lets that user import us: our Python may be below /root
    caps = "-all,+bpf,+perfmon,+dac_read_search"
    unit = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"]
    unit += [f"--inh-caps={caps}", f"--ambient-caps={caps}", f"--bounding-set={caps}"]
    bounding = BOTH | 1 << 2
    with child("keep_what_attaches()", *unit) as found:
        assert found["Uid"].split() == ["1234"] * 4
        assert sets(found) == [0, BOTH, BOTH, bounding, 0]
    with child("drop('nobody')", *unit) as found:
        assert found["Uid"].split() == ["1234"] * 4
        assert sets(found) == [0, 0, 0, bounding, 0]
        assert found["NoNewPrivs"] == "1"


def test_sys_admin_stands_for_both_where_an_engine_has_no_other(root: None) -> None:
    caps = "-all,+sys_admin,+setuid,+setgid,+dac_read_search"
    with child(
        "keep_what_attaches(UserIdentity(60600, 60600))", "setpriv", f"--bounding-set={caps}"
    ) as found:
        assert sets(found)[1:3] == [1 << CAP_SYS_ADMIN] * 2
        assert found["Uid"].split() == ["60600"] * 4


@pytest.mark.parametrize(
    ("caps", "code", "error"),
    [
        ("-all,+dac_read_search", "drop('nobody')", "CAP_SETUID and CAP_SETGID are needed"),
        ("-all,+setuid,+setgid", "keep_what_attaches()", "the helper could not attach later"),
        ("+all", "drop('nobody-at-all')", "there is no user 'nobody-at-all' on this host"),
        ("+all", "drop('root')", "privileges.user must not be root"),
    ],
)
def test_what_cannot_be_given_up_is_an_error_in_one_line(
    root: None, caps: str, code: str, error: str
) -> None:
    with child(code, "setpriv", f"--bounding-set={caps}") as found:
        assert error in found["error"]


def test_every_mismatch_is_named() -> None:
    own = UserIdentity(7, 7)
    assert mismatches(CLEAN, own, 0, limits=True) == []
    changes: dict[str, object] = {
        "users": (7, 0, 7),
        "groups": (4,),
        "effective": 1,
        "permitted": 2,
        "inheritable": 4,
        "bounding": 8,
        "ambient": 16,
        "securebits": 0,
        "no_new_privs": False,
        "dumpable": True,
    }
    for field, value in changes.items():
        wrong = mismatches(msgspec.structs.replace(CLEAN, **{field: value}), own, 0, limits=True)
        assert len(wrong) == 1, field
    assert (
        mismatches(msgspec.structs.replace(CLEAN, bounding=8, securebits=0), own, 0, limits=False)
        == []
    )


@pytest.mark.parametrize(
    ("ignored", "wrong"),
    [
        ("_libc.capset", "permitted capabilities is"),
        ("os.setresuid", "user is (0, 0, 0)"),
        ("os.setgroups", "groups is (4,)"),
    ],
)
def test_a_call_that_did_nothing_is_found_out(root: None, ignored: str, wrong: str) -> None:
    # what needs CAP_SETPCAP
    keeps = "os.setgroups([4])\np._prctl = lambda *a: 0 if a[1] in (24, 28) else real(*a)"
    start = "import os\nimport receiver.kernel.privileges as p\nreal = p._prctl\n"
    code = f"{start}{keeps}\np.{ignored} = lambda *_: 0\np.drop('nobody')"
    with child(code) as found:
        assert "PrivilegeError: cannot drop privileges: " in found["error"]
        assert wrong in found["error"]


def test_accounts() -> None:
    assert account("nobody") == UserIdentity(NOBODY.pw_uid, NOBODY.pw_gid)
    with pytest.raises(ConfigError, match=r"privileges\.helper_user must not be root"):
        account("root", "privileges.helper_user")


def test_a_refused_prctl_says_what_was_wanted() -> None:
    with pytest.raises(PrivilegeError, match="cannot do so: Invalid argument"):
        privileges._prctl("do so", 9999)
