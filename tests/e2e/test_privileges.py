"""Users and capabilities of the service: with a helper, in a container, without eBPF."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from receiver.kernel.spare_user import SPARE
from tests.e2e.collector import PIPELINE
from tests.e2e.confined import BOTH, NOBODY, WITH_HELPER, Service, status

pytestmark = [pytest.mark.live, pytest.mark.e2e]


def test_its_three_processes_hold_nothing_and_nobody_can_signal_the_helper(
    live: None, home: Path
) -> None:
    service = Service(home, settings=WITH_HELPER)
    try:
        family = service.family()
        assert family.keys() == {"kwitness-attach", "kwitness-denied"}
        helper, counter = status(family["kwitness-attach"]), status(family["kwitness-denied"])
        own = status(service.process.pid)
        assert own["Uid"].split() == [str(NOBODY)] * 4
        assert int(helper["Uid"].split()[0]) in SPARE
        for each, capabilities in ((own, 0), (helper, BOTH), (counter, 0)):
            found = [
                int(each[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
            ]
            assert found == [0, capabilities, capabilities, 0, 0]
            assert (each["NoNewPrivs"], each["Seccomp"], each["Groups"]) == ("1", "2", "")
        assert helper["Threads"] == counter["Threads"] == "1"
        if shutil.which("setpriv"):
            for pid in family.values():
                for number in ("KILL", "STOP", "TERM"):
                    attempt = [
                        "setpriv",
                        f"--reuid={NOBODY}",
                        f"--regid={NOBODY}",
                        "--clear-groups",
                        "kill",
                        f"-{number}",
                        str(pid),
                    ]
                    done = subprocess.run(attempt, capture_output=True, text=True, check=False)
                    assert done.returncode != 0 and "not permitted" in done.stderr.lower(), (
                        done.stderr
                    )
        assert service.ask("/readyz") == "ready\n"
        assert service.family() == family
    finally:
        service.stop()
    for pid in family.values():
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("more", ["", ",+setpcap"])
def test_in_a_container_the_bounding_set_is_emptied_where_that_may_be_done(
    live: None, home: Path, more: str
) -> None:
    volume = home / "volume"
    volume.mkdir(exist_ok=True)
    volume.chmod(
        0o777
    )  # as an emptyDir: the state directory in it is still to be made, without CAP_CHOWN
    few = f"-all,+bpf,+perfmon,+setuid,+setgid{more}"
    before = ("setpriv", f"--bounding-set={few}", f"--inh-caps={few}")
    service = Service(home, state=f"volume/state{len(more)}", before=before, settings=WITH_HELPER)
    try:
        left = 0 if more else BOTH | 1 << 6 | 1 << 7
        family = service.family()
        assert int(status(family["kwitness-attach"])["Uid"].split()[0]) in SPARE
        for pid, keeps in (
            (service.process.pid, 0),
            (family["kwitness-attach"], BOTH),
            (family["kwitness-denied"], 0),
        ):
            found = status(pid)
            assert [int(found[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")] == [
                keeps,
                keeps,
                left,
            ]
            assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
        history = volume / f"state{len(more)}" / "history.db"
        deadline = time.monotonic() + 20
        while not history.exists():  # a thread makes it after the start
            assert time.monotonic() < deadline
            time.sleep(0.05)
        own = int(status(service.process.pid)["Uid"].split()[0])
        assert own in SPARE and history.stat().st_uid == own
    finally:
        service.stop()


def test_a_named_helper_user_and_no_filters(live: None, home: Path) -> None:
    settings = '[privileges]\nhelper = "always"\nconfine = "off"\nhelper_user = "daemon"\n'
    service = Service(home, settings=settings)
    try:
        family = service.family()
        assert family.keys() == {"kwitness-attach"}
        helper = status(family["kwitness-attach"])
        assert helper["Uid"].split() == [str(pwd.getpwnam("daemon").pw_uid)] * 4
        assert (helper["Seccomp_filters"], int(helper["CapEff"], 16)) == (
            "1",
            BOTH,
        )  # the one against io_uring
    finally:
        service.stop()


def test_the_source_without_ebpf_says_what_the_drop_hides(live: None, home: Path) -> None:
    """Command lines are open to everybody; the environment of another user's process is not."""
    rule = (
        '[kernel]\nsource = "netlink"\n[[rule]]\nargv = "*/nightly.sh"\n'
        'system = "cron"\npipeline = "nightly"\ntask = "load {0}"\n'
    )
    service = Service(home, settings=rule)
    try:
        script = home / "nightly.sh"
        script.write_text('read line; exec sleep "$line"\n')
        with subprocess.Popen(
            ["bash", str(script)],
            env={"PATH": "/usr/bin:/bin", "AIRFLOW_CTX_DAG_ID": PIPELINE},
            stdin=subprocess.PIPE,
        ) as running:
            said = service.until("/tree", "of nightly")
            service.until("/metrics", 'pipeline_observer_event_kind="process_sample"')
            running.communicate(b"0.1\n", timeout=30)
        assert PIPELINE not in said
    finally:
        service.stop()
    log = service.starting
    assert "tasks that only an environment names" in log and "privileges.drop = false" in log
