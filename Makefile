# The ways to run this project. Everything happens in .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
WORKERS ?= 2
TOSA   := .venv-tosa

DATA   ?=
NAME   ?= fashion

.PHONY: paper paper-quick demo demo-quick test test-slow lint fuzz bench bench-peers bench-sweep conformance mutation golden train warmup clean

demo: $(VENV)/.demo          ## the main job on the embedded network: tables here, demo/report.html to read
	$(BIN)/intsim demo --out demo

demo-quick: $(VENV)/.demo
	$(BIN)/intsim demo --quick --out demo

test: $(VENV)/.dev           ## every test but the slow ones
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "not slow and not fuzz"

test-slow: $(VENV)/.dev      ## the slow tests
	$(BIN)/python -m pytest -q -m slow

fuzz: $(VENV)/.dev           ## random programs, engine against oracle, until INTSIM_FUZZ_SECONDS (default 3600) are over
	$(BIN)/python -m pytest -q -m fuzz

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

train: $(VENV)/.dev          ## trains the embedded networks again (needs Fashion-MNIST: see models/README.md)
	$(BIN)/python -m intsim_models.train

bench: $(VENV)/.dev          ## our kernels beside their peers, as ratios, into benchmarks/results; more peers: make bench-peers
	$(BIN)/intsim bench --out benchmarks/results

bench-peers: $(VENV)/.dev    ## installs LiteRT, QONNX and the ap_fixed headers, so that bench has them beside ours
	$(PIP) install -c constraints.txt -e '.[bench]'
	$(PIP) install --no-deps 'hls4ml>=1.1'

bench-sweep: $(VENV)/.dev    ## what a sweep shares, and how it grows with workers, into benchmarks/results/sweep
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/readme.py

paper: $(VENV)/.dev          ## the replication of docs/paper.md, resumable; other data: make paper DATA=mnist.npz NAME=mnist
	PYTHONPATH=benchmarks $(BIN)/python -m paper --name $(NAME) $(if $(DATA),--data $(DATA))

paper-quick: $(VENV)/.dev    ## the same with fewer seeds, widths and images, in minutes
	PYTHONPATH=benchmarks $(BIN)/python -m paper --quick --name $(NAME) $(if $(DATA),--data $(DATA))

conformance: $(VENV)/.conformance  ## every target against its runtime on every case
	PYTHONPATH=tests $(BIN)/python -m conformance
	$(BIN)/python benchmarks/readme.py

mutation: $(VENV)/.dev       ## the suite itself: every field of the verified targets changed, and it must notice
	PYTHONPATH=tests $(BIN)/python -m conformance mutation
	$(BIN)/python benchmarks/readme.py

golden: $(VENV)/.conformance ## asks every runtime again for the golden vectors of tests/golden
	PYTHONPATH=tests $(BIN)/python -m conformance golden

clean:
	rm -rf $(VENV) $(TOSA) dist build .pytest_cache .mypy_cache .ruff_cache kernels/intsim_kernels/__pycache__

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "intsim needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: on Debian and Ubuntu, apt-get install python3-venv"; rm -rf $(VENV); exit 2; }

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[attack,report]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.conformance: $(VENV)/.dev constraints-conformance.txt
	$(PIP) install -c constraints.txt -c constraints-conformance.txt -e '.[conformance]'
	$(PIP) install -c constraints-conformance.txt --no-deps hls4ml
	@$(PYTHON) -m venv $(TOSA) # its pins of numpy and ml_dtypes are older than ours
	$(TOSA)/bin/python -m pip --disable-pip-version-check --quiet install tosa-tools==2026.8.0
	@touch $@
