"""The exec at which root hands a process over to another user: the user id is 0 before it and
another one after it.

Programs whose command comes from root's own configuration or command line are listed. Programs
whose command comes from the user (sshd, login, cron, atd, display managers) are not: what they
start is no evidence against that user.
"""

from __future__ import annotations

_BY_ROOTS_WORD = frozenset(
    {
        "systemd",
        "systemd-executor",
        "init",
        "openrc-run",
        "start-stop-daemon",
        "runsv",
        "s6-supervise",
        "s6-setuidgid",
        "chpst",
        "setuidgid",
        "monit",
        "runc",
        "crun",
        "youki",
        "tini",
        "dumb-init",
        "docker-init",
        "catatonit",
        "gosu",
        "su-exec",
        "setpriv",
        "su",
        "runuser",
        "sudo",
    }
)
# `systemd --user` starts commands of its user
_USERS_OWN_MANAGERS = frozenset({"systemd", "sd-pam", "(sd-pam)"})


def handed_over(before_uid: int, before: str, after: str) -> str:
    """Evidence that root chose this program for the new user; empty where no fact shows it.

    `before` and `after` are the paths of the two executables.
    """
    by = before.rpartition("/")[2]
    if (
        before_uid != 0
        or by not in _BY_ROOTS_WORD
        or after.rpartition("/")[2] in _USERS_OWN_MANAGERS
    ):
        return ""
    return f"started by {by} as root"
