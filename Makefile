# Every command of the project: `make help` lists those that have a description here.
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes
LOCKS  := scanner plots pulsar kafka page operator docs test build supply
SPHINX := $(BIN)/sphinx-build -q -W --keep-going -n -d build/site/.doctrees

.PHONY: help install hooks demo format lint test-unit test generate docs docs-pictures lock audit sbom clean
.PHONY: pulsar pulsar-install cluster cluster-install cluster-down cluster-demo kafka-install browser-install readers
.PHONY: bench fuzz faults soak test-replicated

help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {print "\n" substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Begin

install: $(STAMP) ## Install everything into .venv

$(STAMP): pyproject.toml $(LOCKS:%=requirements/%.txt)
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(LOCKS:%=-r requirements/%.txt)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation -e .
	$(BIN)/skymap-scanner compile
	touch $@

demo: install ## Scan the demo event on this machine
	$(BIN)/skymap-scanner run demo -o demo-output

cluster-demo: install ## Scan the demo event on a Kubernetes on this machine
	@dev/cluster/demo.sh

##@ Change

format: install ## Format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install ## Check format, types, imports, generated files, docs and chart
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=api:worker_image:operator $(BIN)/lint-imports
	$(BIN)/python dev/generate.py --check
	$(BIN)/python -m dev.supply.lock --check
	$(BIN)/zizmor --offline --quiet .github
	$(SPHINX) -b dummy docs build/site
	helm/lint.sh

audit: install ## Look for known vulnerabilities of all locked packages (REQUIRED=1: fail if PyPI does not answer)
	$(BIN)/python -m dev.supply.audit $(if $(REQUIRED),--required)

test-unit: install ## Run the unit tests: no Pulsar, no cluster, no whole scans, minutes
	$(BIN)/pytest tests/unit -m 'not pulsar and not slow' -n auto --dist loadfile --durations=5

# Many tests wait most of their time, so two processes run them, each with a cluster of its own; a cluster given by
# SKYMAP_TEST_KUBECONFIG serves one. Without reordering the long files of tests/cluster come first, and the short ones of
# tests/unit fill the end.
test: lint audit pulsar-install cluster-install kafka-install browser-install readers ## Lint, audit, and run all tests
	$(BIN)/pytest $(if $(SKYMAP_TEST_KUBECONFIG),,-n 2 --dist loadfile --no-loadscope-reorder)

generate: install ## Write the CRD and the reference pages from the code
	$(BIN)/python dev/generate.py

docs: install ## Build the documentation into build/site
	$(SPHINX) docs build/site
	@echo "The site is in build/site/index.html"

docs-pictures: demo
	cp demo-output/*.plot_allsky.png docs/images/demo-allsky.png
	cp demo-output/*.plot_zoomed*.png docs/images/demo-zoom.png
	dev/browser/picture.sh demo-output/*.report.html docs/images/report.png

hooks: install ## Run the fast checks before each commit (pre-commit)
	$(PIP) -r requirements/hooks.txt
	$(BIN)/pre-commit install

lock: ## Write requirements/ from pyproject.toml (UPGRADE=1: with the newest versions)
	$(BIN)/python -m dev.supply.lock $(if $(UPGRADE),--upgrade)

readers: build/readers/.installed ## Install programs of others that read our files, for tests
	@dev/readers/install.sh

build/readers/.installed: requirements/readers.txt
	$(PYTHON) -m venv build/readers
	build/readers/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/readers.txt
	touch $@

sbom: install ## Write an SBOM (CycloneDX) of the wheel and of each image into build/sbom
	$(BIN)/python -m dev.supply.sbom build/sbom

clean: ## Remove .venv and everything that was built
	rm -rf $(VENV) build demo-output cluster-demo-output

##@ Pulsar and Kubernetes on this machine

pulsar: ## Run Apache Pulsar until Ctrl-C
	@dev/pulsar/start.sh $(if $(PULSAR_DATA),--data "$$PULSAR_DATA")

pulsar-install:
	@dev/pulsar/install.sh

cluster: ## Start a Kubernetes cluster of one node
	@dev/cluster/up.sh

cluster-down: ## Stop it
	@dev/cluster/down.sh

cluster-install:
	@dev/cluster/install.sh

kafka-install:
	@dev/kafka/install.sh
	@dev/kafka/schema.sh

browser-install:
	@dev/browser/install.sh

##@ Measure

bench: fuzz pulsar-install cluster-install browser-install ## Run all benchmarks and the fuzzer, briefly
	$(PIP) -r requirements/bench.txt
	$(BIN)/python benchmarks/i3/codec.py
	$(BIN)/python benchmarks/broker/throughput.py
	$(BIN)/python benchmarks/reconstruction/nside1.py worker_image/skymap_scanner/event/demo.i3.zst
	$(BIN)/python -m benchmarks.faults.kill worker_image/skymap_scanner/event/demo.i3.zst
	$(BIN)/python -m benchmarks.faults.kill worker_image/skymap_scanner/event/demo.i3.zst --pulsar --kills broker=2 worker=5
	$(BIN)/python -m benchmarks.faults.operator --kills 5
	$(BIN)/python -m benchmarks.faults.power --step 50 --resume 2
	$(BIN)/python -m benchmarks.scaling.cluster
	$(BIN)/python -m benchmarks.pulsar.throughput --tasks 7000 --workers 2 --collectors 1
	$(BIN)/python -m benchmarks.scaling.simulate --seeds 1
	$(BIN)/python -m benchmarks.scans.thousand --scans 50 --steady 60
	$(BIN)/python -m benchmarks.pages.browser --scans 200
	$(BIN)/python -m benchmarks.coverage.run --tracks 2 --cascades 2 -o build/coverage
	$(BIN)/python benchmarks/simulation/compare.py --cascades 4 -o build/simulation

# The inputs that it finds are kept in ~/.cache/skymap-scanner/fuzz, or the folder in FUZZ_CORPUS, and grow from run to run.
fuzz: install ## Fuzz every parser for SECONDS (60) each, or some: TARGETS='plan npz'
	$(PIP) -r requirements/bench.txt
	$(BIN)/python -m testing.fuzz --seconds $(or $(SECONDS),60) $(TARGETS)

faults: install pulsar-install cluster-install ## Test every fault on every part of a scan (an hour)
	$(BIN)/python -m benchmarks.faults.matrix $(if $(ONLY),--only '$(ONLY)')

test-replicated: install pulsar-install ## Test scans over a Pulsar of 3 brokers and 3 bookies with faults
	$(BIN)/python -m benchmarks.faults.replicated $(if $(ONLY),--only '$(ONLY)')

soak: install pulsar-install cluster-install ## Scan for an hour and check that nothing grows
	$(BIN)/python -m benchmarks.faults.soak --minutes 60
