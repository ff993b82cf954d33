"""What an interpreter runs is named by its script, and never by a piece of code."""

from __future__ import annotations

import shlex

import pytest

from receiver.text.scripts import script_name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("python3 /opt/etl/load.py --day 1", "load.py"),
        ("python3.11 -u -X dev -W ignore load.py", "load.py"),
        ("python3 -m luigi --module flow Report", "luigi"),
        ("python3 -c 'import time; time.sleep(2)'", ""),
        ("python3 - --day 1", ""),
        ("python3", ""),
        ("bash -c 'rm -rf /data/out; run.sh'", ""),
        ("bash -euo pipefail -c 'load.sh | tail'", ""),
        ("bash -lc load.sh", ""),
        ("bash -euo pipefail jobs/load.sh", "load.sh"),
        ("bash -o pipefail load.sh", "load.sh"),
        ("bash --norc load.sh", "load.sh"),
        ("sh -x ./load.sh", "load.sh"),
        ("perl -I lib load.pl", "load.pl"),
        ("perl -e 'print 1' load.pl", ""),
        ("ruby -r json load.rb", "load.rb"),
        ("node --require ./hook.js --max-old-space-size=64 load.js", "load.js"),
        ("node -e 'process.exit(1)'", ""),
        ("java -Xmx64m -cp '/opt/spark/jars/*' org.apache.spark.Main arg", "org.apache.spark.Main"),
        ("java -classpath a.jar:b.jar Load", "Load"),
        ("java -jar /opt/load.jar --day 1", "load.jar"),
        ("java --module-path=mods -m app/Main", "Main"),
        ("cat load.py", ""),
        ("grep -c python3 load.py", ""),
    ],
)
def test_the_script_of_a_command_line(line: str, name: str) -> None:
    argv = tuple(shlex.split(line))
    assert script_name(argv[0], argv) == name
