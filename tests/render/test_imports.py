"""A command imports the libraries that draw when it prints, not when it starts."""

from __future__ import annotations

import subprocess
import sys

CODE = (
    "import sys, receiver.cli.launch, receiver.cli.observe; "
    "print(*sorted({'rich', 'jinja2'} & set(sys.modules)))"
)


def test_the_observer_of_a_command_starts_without_the_libraries_that_draw() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
