# kwitness as an image: built here, from source, in one stage with a compiler and one without.
FROM debian:12.11-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends clang bpftool libbpf-dev make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY deploy/requirements.txt ./
RUN python3 -m venv /opt/kwitness \
    && /opt/kwitness/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.txt
COPY LICENSE README.md pyproject.toml hatch_build.py ./
COPY bpf bpf
COPY receiver receiver
COPY deploy/share deploy/share
RUN make -s -C bpf && /opt/kwitness/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/kwitness/bin/pip uninstall -y hatchling packaging pathspec pluggy tomlkit trove-classifiers setuptools pip

FROM debian:12.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends libbpf1 python3 python3-bpfcc \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 60612 kwitness \
    && useradd --uid 60612 --gid 60612 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin kwitness \
    && install -d -o kwitness -g kwitness -m 0700 /var/lib/kwitness
COPY --from=build /opt/kwitness /opt/kwitness
ENV PATH=/opt/kwitness/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
# it starts as root, because only that can be given two capabilities by a container runtime, and becomes kwitness, a user
# that nothing else on the host has, when it has attached
ENTRYPOINT ["kwitness"]
CMD ["serve"]
