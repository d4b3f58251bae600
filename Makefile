PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# An index of packages that has torch for processors alone, as in `make demo TORCH_INDEX=https://…`. Without it, torch
# for Linux on x86-64 may bring the libraries of CUDA: some 5 GB that nothing here uses.
TORCH_INDEX ?=
INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
export URLLIB3_NO_OVERRIDE := 1
# Whole files, as their tests share what is costly to make, in the order in which tests/conftest.py puts them.
DEALT := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-long bench lint wheel fresh clean

$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard monitor/stats/*/*.c)
	$(PYTHON) -c 'import sys; sys.exit("driftd needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(INDEX) --constraint constraints.txt \
		--no-binary urllib3-future --editable '.[all,dev]'
	@if ls -d $(VENV)/lib/*/site-packages/nvidia >/dev/null 2>&1; then \
		echo 'torch came with CUDA: to save some 5 GB, rm -r $(VENV) and make TORCH_INDEX=URL (an index of torch for CPUs)'; fi
	touch $@

demo: $(VENV)/.installed
	$(BIN)/driftd demo

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(DEALT)

test-long: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(DEALT) -m long

bench: $(VENV)/.installed
	$(BIN)/driftd bench start
	$(BIN)/driftd bench emulate
	$(BIN)/driftd bench ingest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: $(VENV)/.installed
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

# What a stranger does: the wheel into an environment of its own, without constraints and extras, and the demo.
fresh: wheel
	rm -rf build/fresh
	$(PYTHON) -m venv build/fresh
	build/fresh/bin/python -m pip install --quiet --disable-pip-version-check $(INDEX) dist/driftd-*.whl
	cd build/fresh && bin/driftd init && bin/driftd demo

clean:
	rm -rf $(VENV) var build dist monitor/stats/*/*.so
