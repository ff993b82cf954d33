"""Rules that users write for programs that no recogniser knows.

A configuration has a table of rules. They are checked at start and applied before the frameworks'
recognisers. All patterns that a rule gives must match (fnmatch(3)).

    [[rule]]
    name = "nightly loader"          # for `kwitness check --explain`
    executable = "/opt/loader/bin/*"
    argv = "--job=*"                 # one of the arguments
    environment = "LOADER_JOB_ID"    # the variable is set; naming it here exports its value
    cgroup = "/loaders/*"
    path = "/data/landing/*"         # a file that is opened for writing
    system = "loader"                # {0}: the matched argument, variable or path
    pipeline = "landing"
    task = "{0}"
    run = "{LOADER_JOB_ID}"          # a variable; without it, each process is a run of its own
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import msgspec

from receiver.attribution.claims import Bind, Claims
from receiver.attribution.context import variable
from receiver.attribution.frameworks.base import Recogniser, is_written
from receiver.attribution.programs import own_run
from receiver.events import FileOpened
from receiver.model import PROBABLE, Identity
from receiver.text.redact.names import is_secret_variable
from receiver.work.worker import Worker

VALUE_LIMIT = 250
RULES = 64
_FIELD = re.compile(r"\{(0|[A-Z_][A-Z0-9_]*)\}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,61}")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[rule]]` table."""

    system: str
    pipeline: str
    name: str = ""
    task: str = ""
    run: str = ""
    executable: str = ""
    argv: str = ""
    environment: str = ""
    cgroup: str = ""
    path: str = ""

    def problem(self) -> str:
        """The error in the rule; empty when there is none."""
        if not (self.executable or self.argv or self.environment or self.cgroup or self.path):
            return (
                "matches nothing: give at least one of executable, argv, environment, cgroup, path"
            )
        if self.environment and not NAME.fullmatch(self.environment):
            return (
                f"environment: {self.environment!r} is no name of a variable (letters, digits, _, "
                "at most 62)"
            )
        if is_secret_variable(self.environment):
            return (
                f"environment: {self.environment!r} looks like the name of a secret; its value "
                "would leave the kernel"
            )
        for field in ("system", "pipeline"):
            if not getattr(self, field).strip():
                return f"{field} must not be empty"
        if unknown := [
            f
            for f in _FIELD.findall(self.task + self.run + self.pipeline)
            if f not in ("0", self.environment)
        ]:
            return (
                f"{{{unknown[0]}}} is not what the rule matches: use {{0}} or the variable named "
                "by environment"
            )
        return ""

    @property
    def label(self) -> str:
        return self.name or f"{self.system}/{self.pipeline}"


class Rules(Recogniser):
    """All rules, in the file's order. The first rule that matches a fact decides."""

    name = "rules"
    every_image = True

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._images = tuple(rule for rule in rules if not rule.path)
        self._paths = tuple(rule for rule in rules if rule.path)
        self.paths = ("/",) if self._paths else ()  # type: ignore[misc]

    def image(self, process: Worker) -> Claims:
        for rule in self._images:
            if (found := _matches(rule, process)) is not None:
                return (Bind(_identity(rule, process, found)),)
        return ()

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        if not is_written(event):
            return ()
        for rule in self._paths:
            if fnmatchcase(event.path, rule.path) and _matches(rule, process) is not None:
                return (Bind(_identity(rule, process, event.path)),)
        return ()


def _matches(rule: Rule, process: Worker) -> str | None:
    """The value that its most specific pattern matched; None when a pattern does not match."""
    found = process.executable
    if rule.executable and not fnmatchcase(process.executable, rule.executable):
        return None
    if rule.cgroup and not fnmatchcase(process.memory_cgroup, rule.cgroup):
        return None
    if rule.argv:
        argument = next((a for a in process.argv if fnmatchcase(a, rule.argv)), None)
        if argument is None:
            return None
        found = argument
    if rule.environment:
        found = variable(process.environ, rule.environment)
        if not found:
            return None
    return found


def _identity(rule: Rule, process: Worker, found: str) -> Identity:
    def filled(template: str) -> str:
        return _FIELD.sub(
            lambda m: found if m[1] == "0" else variable(process.environ, m[1]), template
        )[:VALUE_LIMIT]

    run = filled(rule.run)
    source = (
        "env" if rule.environment else "file" if rule.path else "cgroup" if rule.cgroup else "argv"
    )
    return Identity(
        rule.system,
        filled(rule.pipeline),
        run or own_run(process),
        filled(rule.task) or process.name,
        type="task" if run else "job",
        source=source,
        confidence=PROBABLE,
        evidence=f"the rule {rule.label!r}",
        portable=bool(run),
    )
