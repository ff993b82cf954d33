"""The `kwitness` command."""

from __future__ import annotations

import argparse
from typing import NoReturn

from receiver.cli import guard
from receiver.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A wrong command line is one line and status 64 (EX_USAGE), not a page and 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help lists what there is)")


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="kwitness", description="The kernel's witness statement for data pipelines.")
    top.add_argument("--version", action="store_true", help="print the version and leave")
    sub = top.add_subparsers(dest="name_of_command", metavar="COMMAND")

    add = sub.add_parser("check", help="what works on this host, what does not, and why")
    add.add_argument("--json", action="store_true")
    add.add_argument(
        "--explain", metavar="PID|RECORDING", help="whose work it is, by which rule, and why"
    )
    add.add_argument(
        "--ready",
        action="store_true",
        help="whether the running service sees: exit status 0 or 1, for probes",
    )
    add.add_argument(
        "-c", "--config", metavar="FILE", help="kwitness.toml, for its rules or its admin.port"
    )

    add = sub.add_parser("run", help="run a command as one observed task")
    _observed(add)
    add.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD …")

    add = sub.add_parser(
        "record",
        help="store the kernel's events for replay: those of a command, or of the whole host",
    )
    add.add_argument("-o", "--output", metavar="FILE", required=True)
    _observed(add)
    add.add_argument(
        "--whole-host", action="store_true", help="with CMD: other processes in full, too"
    )
    add.add_argument("command", nargs=argparse.REMAINDER, metavar="[-- CMD …]")

    add = sub.add_parser(
        "replay", help="run the same core over a recording, anywhere, without root"
    )
    add.add_argument("file")
    add.add_argument("--dump", action="store_true", help="print the events instead")
    add.add_argument("--json", action="store_true")
    add.add_argument("--otlp-json", metavar="FILE", help="write OTLP/JSON lines")
    add.add_argument(
        "--report", metavar="FILE", help="write a report for each execution as a line of JSON"
    )
    add.add_argument("--page", metavar="FILE", help="write the last report as one plain HTML page")
    add.add_argument(
        "--details", action="store_true", help="print all of the reports, not their first screens"
    )
    add.add_argument(
        "--history", metavar="FILE", help="earlier runs: what is usual; these runs are added"
    )

    add = sub.add_parser("serve", help="the service: observe, export, until SIGTERM")
    add.add_argument(
        "--mode",
        choices=("kernel", "insights"),
        default="kernel",
        help="insights: investigates across hosts what agents send by OTLP",
    )
    add.add_argument("-c", "--config", metavar="FILE", help="kwitness.toml")

    add = sub.add_parser("incidents", help="ask a running service what went wrong, and why")
    add.add_argument("what", choices=("list", "show", "note"), nargs="?", default="list")
    add.add_argument("id", nargs="?", default="")
    add.add_argument("note", nargs="?", default="", help="what fixed it; told when it comes again")
    add.add_argument("--json", action="store_true")
    add.add_argument("--token-file", metavar="FILE", help="default: the one of the state directory")
    add.add_argument("-c", "--config", metavar="FILE", help="kwitness.toml of the service")

    add = sub.add_parser("events", help="follow decoded events")
    add.add_argument("--json", action="store_true")
    return top


def _observed(add: argparse.ArgumentParser) -> None:
    add.add_argument(
        "--report",
        metavar="FILE",
        help="write the report as JSON to a regular file: why it went as it did, with evidence",
    )
    add.add_argument(
        "--facts",
        metavar="FILE",
        help="write all facts as JSON: every process, file and connection",
    )
    add.add_argument(
        "--history", metavar="FILE", help="earlier runs: what is usual; this run is added"
    )
    add.add_argument("--name", help="the task's name; default: the command's")
    add.add_argument(
        "--json", action="store_true", help="print the facts as one line of JSON on stdout"
    )
    add.add_argument(
        "--source",
        choices=("auto", "ebpf", "netlink"),
        default="auto",
        help="where the kernel's facts come from",
    )
    add.add_argument("--timeline", action="store_true", help="print the whole ordered story, too")
    add.add_argument("--quiet", action="store_true", help="print no summary")
    add.add_argument(
        "--live",
        action="store_true",
        help="print work as it begins and ends (the default on a terminal)",
    )
    add.add_argument("-c", "--config", metavar="FILE", help="kwitness.toml, for its rules")
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


def _starts_command(args: argparse.Namespace) -> bool:
    return args.name_of_command == "run" or (
        args.name_of_command == "record" and bool(args.command)
    )


def main(argv: list[str] | None = None) -> int:
    """The exit status. Without arguments of its own it is the process's command line."""
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
    # after the arguments are known: `--help` needs none of it
    from receiver.cli import common, incidents, loop, observe, replay, serve

    if args.version:
        print(f"kwitness {common.VERSION}")
        return 0
    match args.name_of_command:
        case "check":
            return serve.check(args)
        case "run":
            raise UsageError("no command given: kwitness run -- CMD …")
        case "record":
            return loop.run(observe.record(args))
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
            return loop.run(observe.events(args))
        case _:
            parser().print_help()
            return 64
