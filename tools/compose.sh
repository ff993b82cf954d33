#!/usr/bin/env bash
# Usage: compose.sh up|down|demo-stack. Compose v2 or 1.29, whichever is here; an engine that has not heard of CAP_BPF is given
# SYS_ADMIN in its place (given up with all else after attaching).
set -euo pipefail
cd "$(dirname "$0")/.."
if docker compose version > /dev/null 2>&1; then compose="docker compose"; else compose=docker-compose; fi
command -v "${compose%% *}" > /dev/null || { echo "kwitness: neither docker compose nor docker-compose is here" >&2; exit 69; }
docker info > /dev/null 2>&1 || { echo "kwitness: no Docker engine answers (is it running? are you allowed to use it?)" >&2; exit 69; }
powers() { # asked of the engine itself, once our image is there
    $compose build -q kwitness
    if docker create --cap-add BPF --name kwitness-asks kwitness:0.1.0 > /dev/null 2>&1; then docker rm kwitness-asks > /dev/null
    else export KWITNESS_CAP_BPF=SYS_ADMIN KWITNESS_CAP_PERFMON=CAP_SYS_ADMIN; fi
}
case $1 in
up) powers && $compose up -d && echo "Grafana http://localhost:3000   Jaeger http://localhost:16686   incidents: $compose exec -u kwitness kwitness kwitness incidents list -c /etc/kwitness/kwitness.toml" ;;
demo-stack) powers && COMPOSE_PROFILES=demo $compose up -d && echo "a run every half a minute, each second one broken: Grafana http://localhost:3000   Jaeger http://localhost:16686" ;;
down) COMPOSE_PROFILES=demo,tempo,victorialogs $compose down ;;
*) echo "compose.sh up|down|demo-stack" >&2; exit 64 ;;
esac
