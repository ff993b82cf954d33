#!/usr/bin/env bash
# Pictures for the README: the incident pages of two golden recordings, by headless Chromium. `screenshots.sh` after `make setup`.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v chromium > /dev/null || { echo "screenshots: chromium is missing: apt-get install chromium" >&2; exit 69; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for pair in "a_jvm_whose_heap_is_larger_than_its_cgroup-0 oom" "a_check_reads_what_dbt_left-0 torn"; do
    read -r recording name <<< "$pair"
    .venv/bin/kwitness replay "tests/scenarios/incidents/$recording.kw" --page "$work/$name.html" > /dev/null
    chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync \
        --user-data-dir="$work/profile" --hide-scrollbars --window-size=1080,900 --screenshot="docs/images/$name.png" "file://$work/$name.html" 2> /dev/null
done
