"""The steps of demo/pipeline.sh. One date holds far more rows than the others, and the export is
slower than its timeout."""

import csv
import os
import sys
import time

ROWS = {
    "2024-01-14": 2_000,
    "2024-01-15": int(os.environ.get("DEMO_ROWS", "900000")),
    "2024-01-16": 2_000,
}


def extract(path: str) -> None:
    with open(path, "w", newline="") as target:
        rows = csv.writer(target)
        for date, count in ROWS.items():
            rows.writerows((date, user % 97, user) for user in range(count))


def transform(source: str, date: str, target: str) -> None:
    with open(source, newline="") as lines:
        held = [row for row in csv.reader(lines) if row[0] == date]  # the whole partition in memory
    with open(target, "w", newline="") as output:
        csv.writer(output).writerow((date, len(held), sum(int(row[2]) for row in held)))


def export(source: str, target: str) -> None:
    with open(source, newline="") as lines, open(target, "w", newline="") as output:
        writer = csv.writer(output)
        for number, row in enumerate(csv.reader(lines)):
            writer.writerow(row)
            if number % 1000 == 0:
                time.sleep(0.02)  # a slow target


{"extract": extract, "transform": transform, "export": export}[sys.argv[1]](*sys.argv[2:])
