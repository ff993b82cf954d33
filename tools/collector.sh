#!/usr/bin/env bash
# Builds the real OpenTelemetry Collector of tools/collector.yaml with its own builder, once per version, outside the tree.
# Prints where it is. About two minutes and a network for Go modules the first time.
set -euo pipefail
cd "$(dirname "$0")"
version=$(sed -n 's/^  otelcol_version: //p' collector.yaml)
key=$version-$(sha256sum collector.yaml | cut -c1-12)
cache=${KWITNESS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kwitness}/otelcol-$key
if [ ! -x "$cache/otelcol" ]; then
    command -v go > /dev/null || { echo "collector: no Go here, the e2e tests will be skipped" >&2; exit 1; }
    echo "collector: building the OpenTelemetry Collector $version (about two minutes, once)" >&2
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    sed "s|^  output_path: .*|  output_path: $work/out|" collector.yaml > "$work/builder.yaml"
    (cd "$work" && CGO_ENABLED=0 go run "go.opentelemetry.io/collector/cmd/builder@v$version" --config builder.yaml) > "$work/log" 2>&1 ||
        { tail -5 "$work/log" >&2; exit 1; }
    mkdir -p "$cache"
    mv "$work/out/otelcol" "$cache/otelcol.new"
    mv "$cache/otelcol.new" "$cache/otelcol"
fi
echo "$cache/otelcol"
