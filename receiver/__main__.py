"""Where the installed command begins: from its first line on, Ctrl-C is no traceback."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from receiver.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
