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
PIP_LOG := $(VENV)/pip.log
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

# A half-made .venv is made anew: Debian's python3 leaves one without pip, and so does an interruption.
$(INSTALLED): pyproject.toml constraints.txt hatch_build.py
	@python='$(PYTHON)'; "$$python" -c '$(SUPPORTED)' || { \
	    echo "fusemax needs Python 3.11 or newer, and '$$python' is not one: make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; }; \
	whole() { $(BIN)/python -c '$(SUPPORTED)' && $(BIN)/python -m pip --version; } >/dev/null 2>&1; \
	whole || $(BIN)/python -m ensurepip >/dev/null 2>&1 || :; \
	whole || { rm -rf $(VENV); "$$python" -m venv $(VENV) && whole; } || { \
	    rm -rf $(VENV); \
	    echo "'$$python -m venv' makes no whole environment here, so $(VENV) is removed." >&2; \
	    echo "Install what it lacks (on Debian and Ubuntu: apt install python3-venv) and run make again." >&2; \
	    exit 1; }
	@rm -f $(PIP_LOG); \
	$(BIN)/python -m pip install --disable-pip-version-check --log $(PIP_LOG) --constraint constraints.txt \
	    --editable '.[cluster,dev,kernels,report,rtl,sweep,test]' || { \
	    if grep -q 'connection broken by' $(PIP_LOG) 2>/dev/null; then \
	        echo "No package index could be reached: check the network, or set PIP_INDEX_URL to a mirror, or" \
	            "PIP_FIND_LINKS to a folder of wheels with PIP_NO_INDEX=1; then run make again." >&2; \
	    else \
	        echo "The installation failed for the reason above; run make again to go on ($(PIP_LOG) has all)." >&2; \
	    fi; \
	    exit 1; }
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
	$(BIN)/fusemax simulate --cascade attention-1-pass --arch fusemax-cloud --mapper fusemax-interleaved \
	    --model BERT --seq-len 4096 --accounting physical --waterfall results/figures/waterfall.png > results/waterfall.txt
	cp results/figures/waterfall.png notebooks/images/waterfall.png

readme: figures
	$(BIN)/python tests/support/readme_runner.py

wheel: $(INSTALLED)
	$(BIN)/python -m build --wheel

wheels: $(INSTALLED)
	$(BIN)/python -m pytest -m slow -rs tests/test_packaging.py

clean:
	rm -rf $(VENV) build dist results *.egg-info .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
