"""What the service, its helper and the process that counts refused calls may do after the start.

The order in the service: first `Confinement(...)`, which forks the counting process. Then the
helper, which calls `helper`. Then `privileges.drop` and `service`, both while the process has one
thread. The restrictions last until the process ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import ssl
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from receiver.errors import KwitnessError
from receiver.kernel import landlock, seccomp
from receiver.kernel.allowed_calls import CallRules, counter_rules, helper_rules, service_rules
from receiver.kernel.call_tables import architecture
from receiver.kernel.denials import DenialCounter, Denied
from receiver.kernel.privileges import CAP_SETPCAP, drop_to, held, keep_what_attaches
from receiver.kernel.spare_user import ACCOUNT, OwnUser, helper_user, service_user

log = logging.getLogger("kwitness")
# Programs and libraries, so that modules and the ELF files of crashed programs can be read; the
# configuration of the C library; the kernel's own files. Home directories, /var, /srv and temporary
# directories are not listed.
_SYSTEM = (
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    "/opt",
    "/nix",
    "/gnu",
    "/snap",
    "/etc",
    "/proc",
    "/sys",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def readable_paths(more: Iterable[str] = ()) -> list[str]:
    """The paths that Python, the resolver and TLS read late, and `more`."""
    trust = ssl.get_default_verify_paths()
    variables = ("SSL_CERT_FILE", "SSL_CERT_DIR", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    files = [
        trust.cafile,
        trust.openssl_cafile,
        "/etc/resolv.conf",
        *(os.environ.get(v) for v in variables),
        *more,
    ]
    found = [*_SYSTEM, sys.prefix, sys.base_prefix, *(p or os.getcwd() for p in sys.path)]
    for file in filter(None, files):
        # the directory, because a file that is renewed by a rename is a new inode
        found += (
            [file, str(Path(os.path.realpath(file)).parent)] if not os.path.isdir(file) else [file]
        )
    return [path for path in dict.fromkeys(found) if os.path.realpath(path) != "/"]


class Confinement:
    """The service creates it before it starts anything else."""

    def __init__(
        self, *, service: OwnUser | None = None, helper: str = "", on: bool = True
    ) -> None:
        """`service`: the user that the service becomes. `helper`: the helper's; without a name, a
        user that no other process has.

        With `on` False, users are separated and no filter is installed.
        """
        self.helper_user = helper_user(helper, service.identity if service is not None else None)
        self.notes: list[str] = []  # each step that failed, with its reason
        if service is not None and service.shared:
            self.notes.append(
                f"other processes share the service's user, and can stop it: {service.shared}. "
                f"Create the account {ACCOUNT}, or set privileges.user and give it state.directory"
            )
        self._on = on
        self._said: dict[tuple[str, str], int] = {}
        self._counter: DenialCounter | None = None
        if self.helper_user.shared:
            self.notes.append(f"other processes share the helper's user: {self.helper_user.shared}")
        if on:
            self._counter = self._start_counter()

    def _start_counter(self) -> DenialCounter | None:
        arch = architecture()
        if (why := seccomp.missing()) or arch is None:
            self.notes.append(f"no seccomp filter: {why}")
            return None
        return DenialCounter(arch, self._become_counter)

    def _become_counter(self) -> None:
        drop_to(self.helper_user.identity)
        landlock.restrict((), ())
        seccomp.install(counter_rules(), counted=False)

    def helper(self) -> None:
        """For the helper, at its start: its own user, only CAP_BPF and CAP_PERFMON, and its
        filters.

        Raises PrivilegeError when privileges cannot be dropped.
        """
        keep_what_attaches(self.helper_user.identity)
        if self._on:
            self._restrict("helper", helper_rules(), ["/sys", "/proc", *readable_paths()], [])

    def service(
        self, readable: Iterable[str] = (), writable: Iterable[str] = (), *, attaches: bool = False
    ) -> None:
        """For the service, after `privileges.drop`, while it has one thread.

        `attaches`: it attaches hooks itself.
        """
        if not self._on:
            return
        rules = service_rules(attaches=attaches)
        if _has_ring():
            # libuv aborts when this call is refused
            rules = msgspec.structs.replace(rules, allowed=rules.allowed | {"io_uring_enter"})
            self.notes.append("the event loop uses io_uring, whose requests no seccomp filter sees")
        self._restrict("service", rules, readable_paths(readable), [*_DEVICES, *writable])
        for note in self.notes:
            log.warning("confinement: %s", note)

    def _restrict(
        self, who: str, rules: CallRules, readable: list[str], writable: list[str]
    ) -> None:
        """A step that is refused becomes a note and does not stop the service."""
        try:
            if landlock.restrict(readable, writable) and len(os.listdir("/proc/self/task")) > 1:
                self.notes.append(
                    f"{who}: Landlock does not restrict threads that were started before"
                )
        except OSError as error:
            self.notes.append(f"{who}: Landlock is refused: {error.strerror}")
        if self._counter is None:
            return
        try:
            self._counter.take(seccomp.install(rules, counted=True), who)
        except (OSError, KwitnessError) as error:
            self.notes.append(f"{who}: no seccomp filter: {error}")

    def denied(self) -> tuple[Denied, ...]:
        """The calls that were refused since the start."""
        return self._counter.counts() if self._counter is not None else ()

    def report(self) -> None:
        """Logs each call at its first refusal, and logs once that counting has stopped."""
        for found in self.denied():
            if (found.who, found.call) not in self._said:
                log.warning(
                    "confinement refused %s(2) to the %s, which does not need it; "
                    "refused so far: %d",
                    found.call,
                    found.who,
                    found.count,
                )
            self._said[found.who, found.call] = found.count
        if self._counter is not None and not self._counter.alive():
            log.error(
                "the process that counts refused calls has exited: they now fail with ENOSYS and "
                "are not counted",
            )
            self._counter.close()
            self._counter = None

    def close(self) -> None:
        if self._counter is not None:
            self._counter.close()
            self._counter = None


def _has_ring() -> bool:
    """Whether this process already has an io_uring."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if "io_uring" in os.readlink(f"/proc/self/fd/{name}"):
                return True
    return False


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """The confinement that this host allows, for `kwitness check`.

    An empty text means full confinement.
    """

    seccomp: str  # why there is no filter
    landlock: int  # its ABI; 0 if there is none
    bounding_set: str  # why it cannot be emptied
    helper: str  # the user of the helper
    helper_shared: str  # why other processes have that user, too
    service: str
    service_shared: str


def survey(user: str, helper: str, directory: str = "") -> Survey:
    """`directory`: the state directory. Raises ConfigError for a user that does not exist."""
    service = service_user(user, directory)
    chosen = helper_user(helper, service.identity)
    can_empty = bool(held().permitted >> CAP_SETPCAP & 1)
    return Survey(
        seccomp=seccomp.missing(),
        landlock=landlock.version(),
        bounding_set=""
        if can_empty
        else "CAP_SETPCAP is missing; no_new_privs makes the set ineffective",
        helper=f"user {chosen.identity.uid}"
        if chosen.identity
        else f"user {os.geteuid()}, as the service",
        helper_shared=chosen.shared,
        service=f"user {_name(service.identity.uid if service.identity else os.geteuid())}",
        service_shared=service.shared,
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
