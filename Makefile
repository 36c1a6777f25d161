# make demo   scan the demo event, from nothing to a picture        make test   lint and all tests
# make bench  the benchmarks and the fuzzer                          make lint   formatting, types, imports, drift
# make faults  every part of a scan × every fault, on a cluster of its own: an hour
# make soak    scans one after another for an hour, and whether anything grows
# make generate  the files made from code: the CRD and the reference pages      make docs  the site, into build/site
# make pulsar a local Apache Pulsar, until Ctrl-C
# make cluster  a local Kubernetes, until make cluster-down
# make cluster-demo  from nothing to a finished SkymapScan on it, its map fetched

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SPHINX := $(BIN)/sphinx-build -q -W --keep-going -n -d build/site/.doctrees

.PHONY: install demo test lint format bench faults soak docs docs-pictures generate constraints clean pulsar pulsar-install cluster cluster-down cluster-demo cluster-install

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[plots,pulsar,operator,docs,test]'
	$(BIN)/skymap-scanner compile
	touch $@

demo: install
	$(BIN)/skymap-scanner run demo -o demo-output --levels 4:0 32:8 256:12

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=api:worker_image:operator $(BIN)/lint-imports
	$(BIN)/python dev/generate.py --check
	$(SPHINX) -b dummy docs build/site
	helm/lint.sh

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# File by file in two processes, since many tests wait most of their time; each starts a cluster of its own, so that one
# that is given is for one process.
test: lint pulsar-install cluster-install
	$(BIN)/pytest $(if $(SKYMAP_TEST_KUBECONFIG),,-n 2 --dist loadfile)

bench: install pulsar-install cluster-install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/i3/codec.py
	$(BIN)/python benchmarks/i3/fuzz.py --seconds 60
	$(BIN)/python benchmarks/broker/throughput.py
	$(BIN)/python benchmarks/reconstruction/nside1.py worker_image/skymap_scanner/simulation/demo.i3.zst
	$(BIN)/python -m benchmarks.faults.kill worker_image/skymap_scanner/simulation/demo.i3.zst
	$(BIN)/python -m benchmarks.faults.kill worker_image/skymap_scanner/simulation/demo.i3.zst --pulsar --kills broker=2 worker=5
	$(BIN)/python -m benchmarks.faults.operator --kills 5
	$(BIN)/python -m benchmarks.scaling.cluster
	$(BIN)/python -m benchmarks.pulsar.throughput --tasks 7000 --workers 2 --collectors 1
	$(BIN)/python -m benchmarks.scaling.simulate --seeds 1
	$(BIN)/python -m benchmarks.scans.thousand --scans 50 --steady 60
	$(BIN)/python benchmarks/coverage/run.py --tracks 2 --cascades 2 -o build/coverage

faults: install pulsar-install cluster-install
	$(BIN)/python -m benchmarks.faults.matrix $(if $(ONLY),--only '$(ONLY)')

soak: install pulsar-install cluster-install
	$(BIN)/python -m benchmarks.faults.soak --minutes 60

pulsar:
	@dev/pulsar/start.sh $(if $(PULSAR_DATA),--data "$(PULSAR_DATA)")

pulsar-install:
	@dev/pulsar/install.sh

cluster:
	@dev/cluster/up.sh

cluster-down:
	@dev/cluster/down.sh

cluster-demo: install
	@dev/cluster/demo.sh

cluster-install:
	@dev/cluster/install.sh

generate: install
	$(BIN)/python dev/generate.py

docs: install
	$(SPHINX) docs build/site
	@echo "The site is in build/site/index.html"

docs-pictures: demo
	cp demo-output/*.plot_allsky.png docs/images/demo-allsky.png
	cp demo-output/*.plot_zoomed_wilks.png docs/images/demo-zoom.png

constraints:
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/pip install --quiet -e '.[plots,pulsar,operator,docs,test,bench]'
	(echo '# The versions that the tests ran with. Update: make constraints'; \
	 build/constraints/bin/pip freeze --exclude-editable | sort -f) > constraints.txt

clean:
	rm -rf $(VENV) build demo-output cluster-demo-output
