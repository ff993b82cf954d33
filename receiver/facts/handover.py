"""The moment at which root hands a process over to another user, as the kernel shows it: one exec with user id 0 before it and
another user id after it.

Programs that start what root's own configuration or root's own command line names are listed. Programs that start what the
user asks for (sshd, login, cron, atd, display managers) are not: what they start says nothing against that user.
"""

from __future__ import annotations

_BY_ROOTS_WORD = frozenset(
    {
        "systemd", "systemd-executor", "init", "openrc-run", "start-stop-daemon", "runsv", "s6-supervise", "s6-setuidgid", "chpst",
        "setuidgid", "monit", "runc", "crun", "youki", "tini", "dumb-init", "docker-init", "catatonit", "gosu", "su-exec",
        "setpriv", "su", "runuser", "sudo",
    }
)  # fmt: skip
_USERS_OWN_MANAGERS = frozenset(
    {"systemd", "sd-pam", "(sd-pam)"}
)  # `systemd --user` starts what its user wants


def handed_over(before_uid: int, before: str, after: str) -> str:
    """Evidence that root chose this program for the new user; empty where that is not shown. `before` and `after` are the
    paths of the two executables."""
    by = before.rpartition("/")[2]
    if (
        before_uid != 0
        or by not in _BY_ROOTS_WORD
        or after.rpartition("/")[2] in _USERS_OWN_MANAGERS
    ):
        return ""
    return f"started by {by} as root"
