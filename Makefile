# Everything a developer runs. A fresh machine needs Python 3.11+ and make; the rest is installed
# into a virtual environment here.
#
#   make demo      a real job, in parallel and in a plain loop
#   make test      all tests; make test ARGS="tests/unit -k wire" for some of them
#   make lint      ruff: rules and format
#   make types     mypy and basedpyright
#   make docs      the documentation, into docs/_build/html
#   make bench     beside other libraries; make bench BENCH_ARGS= for the long form
#   make clean     remove what the above made, but not the environment; make distclean: that too
#
# For another Python: make test PYTHON=python3.13 VENV=.venv313

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BENCH_ARGS ?= --quick

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

.DEFAULT_GOAL := help
.PHONY: help demo test lint types docs bench clean distclean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.stamp-demo
	$(BIN)/python docs/examples/demo.py

test: $(VENV)/.stamp-test
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.stamp-test
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

docs: $(VENV)/.stamp-docs
	$(BIN)/sphinx-build -n -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.stamp-bench
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean:
	rm -rf build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	rm -rf $(VENV)

# One stamp for each extra ("demo" is none of them: the package alone). Two makes may run at once:
# the second waits at the lock, where there is `flock`, and then finds the work done. "dev" holds
# all the others but "bench" (Dask and Ray are large), so it makes their stamps too.
$(VENV)/.stamp-%: pyproject.toml
	@mkdir -p $(VENV)
	@exec 9>$(VENV)/.lock; \
	if command -v flock >/dev/null 2>&1; then flock 9; fi; \
	if [ -f $@ ] && ! [ pyproject.toml -nt $@ ]; then exit 0; fi; \
	set -e; \
	[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 \
	    || $(PYTHON) -m venv $(VENV); \
	extra="[$*]"; stamps="$@"; \
	case "$*" in \
	    demo) extra="" ;; \
	    dev) stamps="$@ $(foreach e,demo test docs,$(VENV)/.stamp-$e)" ;; \
	esac; \
	echo "installing parmap$$extra into $(VENV)"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".$$extra"; \
	touch $$stamps
