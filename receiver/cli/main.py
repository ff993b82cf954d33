"""The `kwitness` command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from receiver.cli import guard
from receiver.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Reports a wrong command line with one line and status 64 (EX_USAGE); argparse prints a page
    and exits with 2.
    """

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help lists the options)")


New = Callable[..., argparse.ArgumentParser]  # adds the parser of a command


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="kwitness", description="The kernel's witness statement for data pipelines.")
    top.add_argument("--version", action="store_true", help="print the version and exit")
    sub = top.add_subparsers(dest="name_of_command", metavar="COMMAND")

    for add in (_check, _run, _record, _replay, _serve, _incidents, _events):
        add(sub.add_parser)
    return top


def _check(new: New) -> None:
    add = new("check", help="print which parts work on this host, which do not, and why")
    add.add_argument("--json", action="store_true")
    add.add_argument(
        "--explain",
        metavar="PID|RECORDING",
        help="print the task of a process, and the rule that identified it",
    )
    add.add_argument(
        "--ready",
        action="store_true",
        help="exit with 0 if the running service receives events, else with 1; for probes",
    )
    add.add_argument(
        "-c", "--config", metavar="FILE", help="the kwitness.toml with the rules or the admin.port"
    )


def _run(new: New) -> None:
    add = new("run", help="run a command as one observed task")
    _observed(add)
    add.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD …")


def _record(new: New) -> None:
    add = new(
        "record",
        help="store kernel events for replay: those of a command, or of the whole host",
    )
    add.add_argument("-o", "--output", metavar="FILE", required=True)
    _observed(add)
    add.add_argument(
        "--whole-host",
        action="store_true",
        help="with CMD: also store all events of other processes",
    )
    add.add_argument("command", nargs=argparse.REMAINDER, metavar="[-- CMD …]")


def _replay(new: New) -> None:
    add = new("replay", help="analyse a recording on any host, without root")
    add.add_argument("file")
    add.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="use the rules and the [core] settings of this kwitness.toml, and the OTEL_* "
        "variables, instead of the recorded ones",
    )
    add.add_argument("--dump", action="store_true", help="print the events instead")
    add.add_argument("--json", action="store_true")
    add.add_argument("--otlp-json", metavar="FILE", help="write OTLP/JSON lines")
    add.add_argument(
        "--report", metavar="FILE", help="write the report of each execution as one line of JSON"
    )
    add.add_argument("--page", metavar="FILE", help="write the last report as one plain HTML page")
    add.add_argument(
        "--details",
        action="store_true",
        help="print the whole reports, not only their first screens",
    )
    add.add_argument(
        "--history",
        metavar="FILE",
        help="compare with the runs stored in FILE instead of the recorded ones, "
        "then add these runs",
    )


def _serve(new: New) -> None:
    add = new("serve", help="run as a service: observe and export until SIGTERM")
    add.add_argument(
        "--mode",
        choices=("kernel", "insights"),
        default="kernel",
        help="insights: find root causes across hosts in the OTLP that agents send",
    )
    add.add_argument("-c", "--config", metavar="FILE", help="kwitness.toml")


def _incidents(new: New) -> None:
    add = new("incidents", help="list, print and annotate the incidents of a running service")
    add.add_argument("what", choices=("list", "show", "note"), nargs="?", default="list")
    add.add_argument("id", nargs="?", default="")
    add.add_argument(
        "note", nargs="?", default="", help="what fixed the incident; shown when it occurs again"
    )
    add.add_argument("--json", action="store_true")
    add.add_argument(
        "--token-file",
        metavar="FILE",
        help="the access token; default: the token in the state directory",
    )
    add.add_argument("-c", "--config", metavar="FILE", help="the kwitness.toml of the service")


def _events(new: New) -> None:
    add = new("events", help="print decoded events as they arrive")
    add.add_argument("--json", action="store_true")


def _observed(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--report",
        metavar="FILE",
        help="write the report with its evidence as JSON to a regular file",
    )
    add.add_argument(
        "--facts",
        metavar="FILE",
        help="write all facts as JSON: every process, file and connection",
    )
    add.add_argument(
        "--history", metavar="FILE", help="compare with the runs stored in FILE, then add this run"
    )
    add.add_argument("--name", help="the task's name; default: the name of the command")
    add.add_argument(
        "--json", action="store_true", help="print the facts as one line of JSON on stdout"
    )
    add.add_argument(
        "--source",
        choices=("auto", "ebpf", "netlink"),
        default="auto",
        help="the source of the kernel events",
    )
    add.add_argument(
        "--timeline", action="store_true", help="also print all events in order of time"
    )
    add.add_argument("--quiet", action="store_true", help="print no summary")
    _while_it_runs(add)
    add.add_argument("-c", "--config", metavar="FILE", help="the kwitness.toml with the rules")
    add.add_argument("--otlp-json", metavar="FILE", help="write OTLP/JSON lines")
    add.add_argument(
        "--require",
        action="store_true",
        help="if nothing can be observed, do not run the command: exit with the reason's status",
    )
    add.add_argument(
        "--strict-output",
        action="store_true",
        help="exit with 74 if a report, recording, history or export could not be written",
    )


def _while_it_runs(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--live", action="store_true", help="print each task when it starts and when it ends"
    )
    add.add_argument(
        "--no-status",
        action="store_true",
        help="do not show the status of the command in the title of the terminal",
    )
    add.add_argument(
        "--status-line",
        action="store_true",
        help="show the status in the last row of the terminal instead of its title; pagers that "
        "the command starts are then shown wrongly",
    )


def _starts_command(args: argparse.Namespace) -> bool:
    return args.name_of_command == "run" or (
        args.name_of_command == "record" and bool(args.command)
    )


def main(argv: list[str] | None = None) -> int:
    """Runs a command line, by default the process's own, and returns the exit status."""
    if argv is None:
        guard.prepare()
    return guard.guarded(lambda: command(argv))


def command(argv: list[str] | None) -> int:
    args = parser().parse_args(argv)
    if args.name_of_command in ("run", "record") and args.command[:1] == ["--"]:
        args.command = args.command[1:]
    if _starts_command(args) and args.command:
        from receiver.cli.launch import (
            launch,
        )  # and nothing else: this process becomes the command's parent

        launch(args)
    if argv is None:
        guard.fill_standard_streams()
    guard.log_to_stderr()
    # imported after the arguments are parsed, because `--help` needs none of these
    from receiver.cli import check, common, incidents, loop, record, replay, serve

    if args.version:
        print(f"kwitness {common.VERSION}")
        return 0
    match args.name_of_command:
        case "check":
            return check.check(args)
        case "run":
            raise UsageError("no command given: kwitness run -- CMD …")
        case "record":
            return loop.run(record.record(args))
        case "replay":
            return loop.run(replay.replay_file(args))
        case "serve" if args.mode == "insights":
            from receiver.cli import insights

            return loop.run(insights.serve(args))
        case "serve":
            return loop.run(serve.serve(args))
        case "incidents":
            return incidents.incidents(args)
        case "events":
            return loop.run(record.events(args))
        case _:
            parser().print_help()
            return 64
