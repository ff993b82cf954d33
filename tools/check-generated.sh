#!/usr/bin/env bash
# Regenerates every generated file beside the committed one and compares.
set -euo pipefail
cd "$(dirname "$0")/.."
files="receiver/events.py receiver/constants.py receiver/semconv.py receiver/investigate/weights.py docs/conventions.md docs/causes.md docs/report.schema.json docs/configuration.md"
files+=" $(echo deploy/share/* deploy/grafana/dashboards/*.json)"
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
cp --parents $files "$before"
make --no-print-directory -s generate
status=0
for file in $files; do
    cmp -s "$before/$file" "$file" || { echo "$file is not what its source makes: run make generate, commit both" >&2; status=1; }
    cp "$before/$file" "$file"
done
exit $status
