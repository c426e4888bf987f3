# Everything here runs on a machine that has only make and Python 3.11 or newer.
#   make reproduce           the whole published evaluation, into results/
#   make test                the default test suite
#   make PYTHON=... test     with the Python of your choice

SUPPORTED := import sys; sys.exit(sys.version_info < (3, 11))
CANDIDATES := python3 python python3.14 python3.13 python3.12 python3.11
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p -c '$(SUPPORTED)' >/dev/null 2>&1 && { echo $$p; exit; }; done; echo python3)

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := einsum_cascades fusemax hw_models kernels mappers

.PHONY: help install reproduce test slow bench speed check notebooks figures readme wheel wheels clean

help:
	@echo "make reproduce   regenerate the published evaluation into results/"
	@echo "make test        the default test suite"
	@echo "make slow        the slow tests: wheel, notebooks, long searches"
	@echo "make bench       measure how fast the engine is"
	@echo "make check       ruff and mypy --strict"
	@echo "make notebooks   execute the notebooks in place"
	@echo "make speed       measure how long commands take"
	@echo "make figures     make the pictures of README.md anew"
	@echo "make readme      the same, and run its commands anew"
	@echo "make wheel       build the wheel into dist/"
	@echo "make wheels      try the wheel in empty environments, on every Python from 3.11 to 3.13 that is here"
	@echo "make clean       remove all that make has made"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@python='$(PYTHON)'; "$$python" -c '$(SUPPORTED)' || { \
	    echo "fusemax needs Python 3.11 or newer, and '$$python' is not one: make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; }; \
	test -x $(BIN)/python || "$$python" -m venv $(VENV)
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[cluster,report,test,dev]'
	@touch $@

reproduce: $(INSTALLED)
	$(BIN)/fusemax reproduce --out results

test: $(INSTALLED)
	$(BIN)/python -m pytest

slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

bench: $(INSTALLED)
	$(BIN)/python -m pytest tests/benchmarks

speed: $(INSTALLED)
	$(BIN)/python tests/benchmarks/commands.py

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --output-format concise .
	$(BIN)/mypy

notebooks: $(INSTALLED)
	$(BIN)/python tests/support/notebook_runner.py notebooks/*.ipynb

figures: reproduce
	cp results/figures/figure-07-attention-speedup.png notebooks/images/speedup.png
	cp results/figures/figure-12-area-latency.png notebooks/images/area-latency.png
	$(BIN)/fusemax measure gpu --compare --plot results/figures/gpu-rates.png > results/gpu-rates.txt
	cp results/figures/gpu-rates.png notebooks/images/gpu-rates.png

readme: figures
	$(BIN)/python tests/support/readme_runner.py

wheel: $(INSTALLED)
	$(BIN)/python -m build --wheel

wheels: $(INSTALLED)
	$(BIN)/python -m pytest -m slow -rs tests/test_packaging.py

clean:
	rm -rf $(VENV) build dist results *.egg-info .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
