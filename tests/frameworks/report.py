"""docs/mapping.md from what the tests of tests/frameworks measured: `python -m tests.frameworks.report FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from tests.frameworks.harness import Figures

TARGET = Path(__file__).parent.parent.parent / "docs/mapping.md"
HEAD = """# Mapping: whose process was it?

Written by `make test-frameworks`, which installs each framework (pinned in `tests/frameworks/requirements`), runs it under a live
kwitness, and compares. Two independent sources say what is right: the processes themselves, which write down who they are
(`tests/frameworks/pipelines/truth.py`), and the framework's own records (Airflow's database, Spark's work folder, dbt's
run_results, Great Expectations' validation results, Prefect's and Dagster's stores).

- **Recall**: processes that said whose they were, and of which kwitness says the same.
- **Precision**: of the processes that kwitness gave to a piece of work of that system, the share that is in the right one. *Wrong*
  (though said to be certain or probable) must be 0.
- **Work**: pieces of work (tasks with attempt and map index, models, executors, …) in the framework's records that kwitness found.
- **Outcomes**: where both know one. kwitness says what the kernel saw; a difference is not always an error (see the note).
- **Grades**: what they mean, and why a service that was started later is only probable: [attribution.md](attribution.md).

| framework | runs | processes stated | recall | precision | wrong | work found | outcomes equal | grades |
|---|---|---|---|---|---|---|---|---|
"""


def row(f: Figures) -> str:
    recall = f"{f.found / f.stated:.1%}" if f.stated else "–"
    given = f.found + len(f.wrong)
    precision = f"{f.found / given:.1%}" if given else "–"
    work = f"{f.work_found} of {f.work_recorded}" + (
        f", {len(f.work_extra)} more" if f.work_extra else ""
    )
    outcomes = f"{f.outcomes_agreed} of {f.outcomes_known}" if f.outcomes_known else "–"
    grades = ", ".join(f"{n} {grade}" for grade, n in sorted(f.grades.items())) or "–"
    return f"| {f.framework} | {f.how} | {f.stated} | {recall} | {precision} | {len(f.wrong)} | {work} | {outcomes} | {grades} |"


def main(folder: Path) -> None:
    found = sorted(
        (
            msgspec.json.decode(p.read_bytes(), type=Figures)
            for p in folder.glob("*.json")
            if p.name != "healthy.json"
        ),
        key=lambda f: (f.framework, f.how),
    )
    stated, right, wrong = (
        sum(f.stated for f in found),
        sum(f.found for f in found),
        sum(len(f.wrong) for f in found),
    )
    lines = [row(f) for f in found]
    lines += [
        "",
        f"All together: {right} of {stated} processes ({right / stated:.1%}), {wrong} wrong.",
        "",
        "## Notes",
        "",
    ]
    for f in found:
        notes = [f.note] if f.note else []
        notes += [f"not found: {text}" for text in f.unknown[:3]]
        notes += [f"not in the records: {', '.join(f.work_extra[:3])}"] if f.work_extra else []
        notes += f.outcomes_differ[:3]
        lines += [f"- {f.framework}, {f.how}: {'; '.join(notes)}." for _ in notes[:1]]
    TARGET.write_text(HEAD + "\n".join(lines) + "\n" + LIMITS + healthy(folder))


LIMITS = """
## What cannot be known from the kernel

- Prefect's task runs (threads), the steps' names of Dagster (its event log has them), Celery's task names, inner Luigi tasks that
  write no LocalTarget, Airflow tasks that `airflow tasks test` runs in its own process, the application id of Spark in local mode.
- Not run here: Nextflow (its program is in no package registry: rules by its documented conventions, tested with stories), Celery's
  and Kubernetes' executors of Airflow (pods and containers by recorded cgroup paths), YARN and Kubernetes as masters of Spark.
- A dbt node is told by the files below target/: with `--no-write-json` or another target path it is not. It ends at its
  thread's next node, so its duration is an upper bound.
"""


def healthy(folder: Path) -> str:
    """How often each framework ran without an alarm: written by the healthy tests."""
    path = folder / "healthy.json"
    if not path.exists():
        return ""
    runs = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    rows = "\n".join(f"| {name} | {count} |" for name, count in sorted(runs.items()))
    head = "## Healthy runs without a finding of severity WARN or above"
    return f"\n{head}\n\n| framework | runs |\n|---|---|\n{rows}\n\nWhat is not in this table was not run that often.\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
