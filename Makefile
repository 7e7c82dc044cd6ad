# `make demo` and `make test` set everything up by themselves.
PYTHON ?= python3
VENV   ?= .venv
RUN    ?= demo-run
JOBS   ?= 2
BIN    := $(VENV)/bin
# files in their order: the long ones must not come last
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test fast drills lint types docs tutorials benchmark gpaw clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       set up, run the demo campaign (about 10 minutes), say where the report is"
	@echo "make test       set up, run the whole test suite, JOBS=2 tests at a time"
	@echo "make fast       the tests without the slow ones"
	@echo "make drills     kill workers, runners and databases of running campaigns (about 5 minutes)"
	@echo "make gpaw       set up GPAW, real DFT without a licence, and what it builds on"
	@echo "make lint types docs tutorials benchmark clean"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch on its own first: packages that depend on it would pull the build for another machine
$(VENV)/torch.stamp: constraints.txt | $(BIN)/python
	$(PIP) torch
	@touch $@

$(VENV)/demo.stamp: pyproject.toml $(VENV)/torch.stamp
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/test.stamp: pyproject.toml $(VENV)/torch.stamp
	$(PIP) --editable '.[demo,test,lint,docs]'
	@touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/alpot demo --run-dir $(RUN)

test: $(VENV)/test.stamp
	$(PYTEST)

fast: $(VENV)/test.stamp
	$(PYTEST) -m "not slow"

drills: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m drill

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test.stamp
	$(BIN)/mypy

docs: $(VENV)/test.stamp
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

tutorials: $(VENV)/test.stamp
	$(BIN)/python tutorials/run_all.py

gpaw: $(VENV)/test.stamp
	tools/install_gpaw.sh $(BIN)/python --quiet --disable-pip-version-check --constraint constraints.txt --editable

benchmark: $(VENV)/test.stamp
	$(BIN)/python benchmarks/bench_structures.py
	$(BIN)/python benchmarks/bench_direct.py
	$(BIN)/python benchmarks/bench_potentials.py

clean:
	rm -rf $(VENV) $(RUN) docs/_build
