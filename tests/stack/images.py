"""Images with the names and tags of docker-compose.yml, made from what can be built here:
nothing can be pulled.

The servers are the real ones (tools/servers.sh, tools/collector.sh) in images from scratch;
the base of our own image is a debootstrap of the same Debian release.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.conftest import missing

ROOT = Path(__file__).parent.parent.parent
CACHE = Path(
    os.environ.get("KWITNESS_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kwitness"
)
DOCKER = "/usr/bin/docker"
BASE = "debian:12.11-slim"
LOKI = "grafana/loki:3.7.8"
# image: the binary's name, its place in the image, its user, folders that must belong to that user
SERVERS = {
    "jaegertracing/jaeger:2.13.0": ("jaeger", "cmd/jaeger/jaeger-linux", "0", ()),
    "victoriametrics/victoria-logs:v1.52.1": ("victorialogs", "victoria-logs-prod", "0", ()),
    LOKI: ("loki", "usr/bin/loki", "10001", ("loki",)),
    "prom/prometheus:v3.5.0": ("prometheus", "bin/prometheus", "65534", ("prometheus",)),
    "otel/opentelemetry-collector-contrib:0.159.0": ("otelcol", "otelcol-contrib", "10001", ()),
}


def docker(*arguments: str, check: bool = True, **options: object) -> str:
    done = subprocess.run(
        [DOCKER, *arguments], capture_output=True, text=True, check=False, **options
    )  # type: ignore[call-overload]
    if check and done.returncode:
        raise RuntimeError(
            f"docker {' '.join(arguments[:3])}: {done.stderr[-2000:]}{done.stdout[-1000:]}"
        )
    return str(done.stdout)


def need() -> None:
    for tool in (DOCKER, "/usr/bin/docker-compose", "/usr/sbin/dockerd", "/usr/sbin/debootstrap"):
        if not Path(tool).exists():
            missing(
                "stack",
                (
                    f"{tool} is not here: apt-get install docker.io docker-compose debootstrap "
                    "busybox-static"
                ),
            )
    if os.geteuid() != 0:
        missing("stack", "an engine of our own needs root")


def has(image: str) -> bool:
    return bool(docker("images", "-q", image).strip())


def has_loki() -> bool:
    """Whether a Loki was given. It is never built here: its licence (AGPL) keeps its module out of
    our builds."""
    return bool(os.environ.get("KWITNESS_LOKI")) or has(LOKI)


def binary(name: str) -> Path:
    if name == "loki":
        return Path(os.environ["KWITNESS_LOKI"])
    script = ["tools/collector.sh"] if name == "otelcol" else ["tools/servers.sh", name]
    done = subprocess.run(["bash", *script], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        missing("stack", f"{name} cannot be built here: {done.stderr.strip()[-300:]}")
    return Path(done.stdout.strip())


def make_server(image: str) -> None:
    name, place, user, folders = SERVERS[image]
    with tempfile.TemporaryDirectory(prefix="kwitness-image-") as folder:
        root = Path(folder)
        target = root / "root" / place
        target.parent.mkdir(parents=True)
        shutil.copy(binary(name), target)
        for each in ("tmp", *folders):
            (root / "root" / each).mkdir(exist_ok=True)
            os.chown(root / "root" / each, int(user), int(user))
        (root / "root/tmp").chmod(0o1777)
        busybox = Path("/bin/busybox")
        (root / "root/bin").mkdir(exist_ok=True)
        shutil.copy(
            busybox, root / "root/bin/wget"
        )  # what the stock image of Prometheus has for its health check
        (root / "Dockerfile").write_text(
            f'FROM scratch\nADD root.tar /\nUSER {user}\nENTRYPOINT ["/{place}"]\n'
        )
        subprocess.run(
            ["tar", "-C", str(root / "root"), "-cf", str(root / "root.tar"), "."], check=True
        )
        shutil.rmtree(root / "root")
        docker("build", "-q", "-t", image, folder)


def make_base() -> None:
    """Debian's packages and certificates as this machine has them; where to find PyPI, too."""
    kept = CACHE / "debian-bookworm-base.tar"
    if not kept.exists():
        with tempfile.TemporaryDirectory(prefix="kwitness-base-") as folder:
            done = subprocess.run(
                ["debootstrap", "--variant=minbase", "bookworm", folder],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                missing("stack", f"debootstrap: {done.stdout[-300:]}")
            bundle = Path("/etc/ssl/certs/ca-certificates.crt")
            if (
                bundle.exists()
            ):  # kept under a name of its own: installing ca-certificates writes Debian's anew
                shutil.copy(bundle, Path(folder, "etc/host-certificates.crt"))
                Path(folder, "etc/pip.conf").write_text(
                    "[global]\ncert = /etc/host-certificates.crt\n"
                )
            sources = Path("/etc/apt/sources.list.d/debian.sources")
            if sources.exists():
                shutil.copy(sources, Path(folder, "etc/apt/sources.list.d/debian.sources"))
                Path(folder, "etc/apt/sources.list").unlink(missing_ok=True)
            subprocess.run(
                ["rm", "-rf", f"{folder}/var/cache/apt", f"{folder}/var/lib/apt/lists"], check=True
            )
            temporary = kept.with_suffix(".new")
            subprocess.run(["tar", "-C", folder, "-cf", str(temporary), "."], check=True)
            temporary.replace(kept)
    docker("import", str(kept), BASE)


def make_all() -> None:
    need()
    for image in SERVERS:
        if not has(image) and (image != LOKI or has_loki()):
            make_server(image)
    if not has(BASE):
        make_base()
    docker("build", "--network", "host", "-t", "kwitness:0.1.0", str(ROOT), timeout=1200)
