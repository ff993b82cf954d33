#!/usr/bin/env bash
# Builds real servers of docker-compose.yml from their Go modules: `servers.sh jaeger|prometheus|victorialogs…`. It builds each
# version once, outside the tree. The first time takes half a minute for VictoriaLogs and three to four minutes for each other server.
# It prints the paths of the binaries. A hash pins each module, and the module's own go.sum pins the rest.
set -euo pipefail
cache=${KWITNESS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kwitness}
command -v go > /dev/null || { echo "servers: no Go here" >&2; exit 69; }

build() {
    local name=$1 module=$2 version=$3 sum=$4 package=$5
    local target=$cache/$name-$version
    if [ ! -x "$target/$name" ]; then
        echo "servers: building $name $version (minutes, once)" >&2
        local work found source
        work=$(mktemp -d)
        found=$(go mod download -json "$module@$version")
        grep -q "\"Sum\": \"h1:$sum\"" <<< "$found" || { echo "servers: $module@$version is not what it was: $found" >&2; exit 1; }
        source=$(sed -n 's/.*"Dir": "\(.*\)",/\1/p' <<< "$found")
        # a module with replacements cannot be installed by name: ours repeats its requirements. Its local replacements stay out
        sed -e "s|^module .*|module servers|" -e '/=> \.\//d' "$source/go.mod" > "$work/go.mod"
        cp "$source/go.sum" "$work/go.sum"
        chmod u+w "$work"/go.*
        printf '\nrequire %s %s\n' "$module" "$version" >> "$work/go.mod"
        printf '%s %s h1:%s\n' "$module" "$version" "$sum" >> "$work/go.sum"
        (cd "$work" && CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags="-s -w" -o "out/$name" "$module/$package") > "$work/log" 2>&1 ||
            { tail -5 "$work/log" >&2; exit 1; }
        mkdir -p "$target"
        mv "$work/out/$name" "$target/$name"
        rm -rf "$work"
    fi
    echo "$target/$name"
}

for name in "$@"; do
    case $name in
    jaeger) build jaeger github.com/jaegertracing/jaeger v1.76.0 'sWCOOF1dr+NL0PLil7mFo3BqqQL8k4WiM7aguFbc14g=' cmd/jaeger ;;
    prometheus) build prometheus github.com/prometheus/prometheus v0.305.0 'UO/LsM32/E9yBDtvQj8tN+WwhbyWKR10lO35vmFLx0U=' cmd/prometheus ;;
    victorialogs) build victorialogs github.com/VictoriaMetrics/VictoriaLogs v1.52.1 'B83xu4usTNPrpsFZFH/Dei3nWIsQizIeSRghFxj4ZJo=' app/victoria-logs ;;
    *) echo "servers: $name is not known: jaeger, prometheus, victorialogs" >&2; exit 64 ;;
    esac
done
