# Everything starts here. `make demo` and `make test` install what is missing, say so first, and are quick the second time.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OBJECT := receiver/kernel/kwitness.bpf.o
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup bpf generate demo test test-unit test-live test-e2e test-abuse test-truth test-stack test-frameworks test-kernels test-verifier test-mutants fuzz bench bench-incidents bench-judging lint format \
	wheel test-wheel collector up down demo-stack clean

help:
	@echo "make demo      a small real pipeline under kwitness: what its log says, what the kernel saw (root)"
	@echo "make test      all tests; what cannot run here is skipped with its reason"
	@echo "make test-abuse  attacks by a hostile user of the host, whole (root, some ten minutes); make test runs a short form of it"
	@echo "make test-truth  runs the laboratory under strace, too, and looks for sentences of reports that are false (root, strace, half an hour)"
	@echo "make lint      formatters, linters, types, import layers, generated files"
	@echo "make up        the stack of docker-compose.yml beside your pipelines: kwitness, Collector, Jaeger, Loki, Prometheus, Grafana; make down"
	@echo "make demo-stack  the same, and a pipeline that runs well and badly again and again"
	@echo "make test-stack  docker-compose.yml as it is with the real servers, built here (root, dockerd, Go; the first time some 10 minutes more)"
	@echo "make test-kernels  the live tests on Debian's 6.1 and 6.12 in qemu, through both doors (root, apt)"
	@echo "make test-verifier  whether the verifiers of 6.1 and 6.12 accept every program, in qemu (root, apt, some minutes)"
	@echo "make test-frameworks  Airflow, Spark, dbt and others for real, compared with their own records; writes docs/mapping.md"
	@echo "make bench-incidents  breaks some 400 real runs on purpose and scores the reports; writes docs/accuracy.md (root, half an hour)"
	@echo "make bench-judging  plays the judging set: 400 composed incidents and their healthy twins; puts the shares into docs/accuracy.md (root, two hours)"
	@echo "make test-mutants  puts 60 known faults into a copy of the code, one at a time: the tests must notice them"
	@echo "make fuzz      searches with atheris for inputs that break a decoder, five minutes for each target"
	@echo "make bench     measures, and writes docs/performance.md (root)"
	@echo "make collector builds the OpenTelemetry Collector that the e2e tests use (Go)"
	@echo "make wheel     dist/*.whl with the BPF object and libbpf inside: a host needs nothing else"
	@echo "make test-wheel  installs the wheel in Debian roots without libbpf and runs it there (root, debootstrap)"

setup: $(VENV)/.installed bpf

$(VENV)/.installed: pyproject.toml tools/setup.sh
	@tools/setup.sh $(PYTHON) $(VENV)
	@touch $@

bpf: $(OBJECT)

$(OBJECT): $(wildcard bpf/*.c bpf/*.h) bpf/Makefile | $(VENV)/.installed
	@tools/need.sh clang bpftool
	@$(MAKE) --no-print-directory -s -C bpf

generate: setup
	@$(MAKE) --no-print-directory -s -C bpf generate PYTHON=$(CURDIR)/$(BIN)/python
	@$(BIN)/python semconv/generate.py
	@$(BIN)/python -m tests.incidents.weigh table
	@PYTHONPATH=$(CURDIR) $(BIN)/python tools/generate_docs.py
	@$(BIN)/python -m tools.dashboards
	@$(BIN)/ruff format -q receiver/events.py receiver/constants.py receiver/semconv.py receiver/investigate/weights.py

demo: setup
	@tools/need.sh root btf
	@$(BIN)/python demo/demo.py

test: setup
	@$(MAKE) --no-print-directory -s collector || echo "make test: no Collector could be built, the e2e tests will be skipped"
	$(PYTEST) -m "not bench and not frameworks and not stack and not abuse"

test-unit: setup
	$(PYTEST) -m "not bench and not frameworks and not stack and not abuse and not live and not e2e"

test-live: setup
	KWITNESS_TEST_REQUIRE=live $(PYTEST) -m "live and not abuse"

test-e2e: setup collector
	KWITNESS_TEST_REQUIRE=live,e2e $(PYTEST) -m e2e

test-abuse: setup
	@tools/need.sh root btf
	KWITNESS_TEST_REQUIRE=live,abuse $(PYTEST) -m abuse

# TRUTH: arguments of tests.truth, as `--variants 1 --lab kills`
TRUTH ?= --lab
test-truth: setup
	@tools/need.sh root btf strace
	.venv/bin/python -m tests.truth $(TRUTH)

test-stack: setup
	@tools/need.sh root btf go
	@tools/stack.sh
	KWITNESS_TEST_REQUIRE=live,e2e,stack $(PYTEST) -m stack

up down demo-stack:
	@tools/compose.sh $@

# whether the verifiers of Debian's 6.1 and 6.12 accept every program, with both kinds of system-call hooks: a minute or two each
test-verifier: setup
	KWITNESS_KERNEL_DOORS=auto KWITNESS_KERNEL_COMMAND="$(BIN)/python -m tools.verifier" tools/kernels.sh

test-frameworks: setup collector
	@tools/need.sh root btf
	@tools/frameworks.sh > /dev/null
	rm -rf dist/mapping
	KWITNESS_MAPPING=$(CURDIR)/dist/mapping KWITNESS_TEST_REQUIRE=live,e2e,frameworks $(PYTEST) -m frameworks
	$(BIN)/python -m tests.frameworks.report dist/mapping

test-mutants: setup
	$(BIN)/python -m tools.mutants

test-kernels: setup
	tools/kernels.sh

fuzz: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz
	@for target in $(or $(TARGET),$$($(BIN)/python -m tests.fuzz)); do \
		$(BIN)/python -m tests.fuzz $$target $(or $(SECONDS_EACH),300) || exit 1; done

bench: setup
	@tools/need.sh root btf
	$(BIN)/python -m tests.bench

bench-incidents: setup
	@tools/need.sh root btf ip iptables-legacy mkfs.ext4 fsfreeze javac node perl gcc
	rm -rf dist/incidents
	$(BIN)/python -m tests.incidents --save dist/incidents --record $(SCENES) || true
	$(BIN)/python -m tests.incidents.report dist/incidents

# JUDGING: further arguments, as `--from 100 --count 50` or `--truth`; what is in dist/judging.jsonl is not played again
bench-judging: setup
	@tools/need.sh root btf ip iptables-legacy mkfs.ext4
	$(BIN)/python -m tests.incidents.generate --set judging --save dist/judging.jsonl --page docs/accuracy.md $(JUDGING)

collector:
	@tools/collector.sh

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	clang-format --dry-run --Werror bpf/*.c bpf/*.h
	@tools/check-generated.sh

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	clang-format -i bpf/*.c bpf/*.h

# receiver/kernel/lib is preferred to the system's libbpf from then on; make clean removes it
wheel: setup
	@PYTHON=$(CURDIR)/$(BIN)/python tools/libbpf.sh receiver/kernel/lib dist/libbpf-sources
	@rm -f dist/kwitness-*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@for file in kwitness.bpf.o lib/libkwitness-bpf.so.1 lib/libkwitness-elf.so.1 lib/NOTICE; do \
		$(BIN)/python -m zipfile -l dist/kwitness-*.whl | grep -q "receiver/kernel/$$file" || exit 1; done
	@ls dist

# HEAVY: a minimal Debian for each suite, without libbpf, and kwitness in it from the wheel (root, debootstrap)
test-wheel: wheel
	tools/test_wheel.sh $(SUITES)

clean:
	rm -rf $(VENV) dist receiver/kernel/lib
	$(MAKE) -C bpf clean
