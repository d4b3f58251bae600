PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export URLLIB3_NO_OVERRIDE := 1
# Whole files, as their tests share what is costly to make, in the order in which tests/conftest.py puts them.
DEALT := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-long bench lint clean

$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard monitor/stats/*/*.c)
	$(PYTHON) -c 'import sys; sys.exit("driftd needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--no-binary urllib3-future --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/driftd demo

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(DEALT)

test-long: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(DEALT) -m long

bench: $(VENV)/.installed
	$(BIN)/driftd bench emulate
	$(BIN)/driftd bench ingest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) var build monitor/stats/*/*.so
