# hmtools for developers. Both first commands work on a fresh clone; everything is installed into .venv.
#
#   make demo    install, run the main job on generated data, list what it made in demo/
#   make test    check, then the default tests
#   make check   lint, format, types, import directions, spelling; no tests
#   make slow    the tests that `make test` leaves out
#   make bench   every script of benchmarks/
#   make clean   remove all that make made: .venv, demo/, caches, build outputs
#
# Options: make PYTHON=/path/to/python3.12 demo    make CORES=4 test

.DEFAULT_GOAL := help
.PHONY: help demo test check lint format types imports spelling slow bench clean
# All targets share one .venv, and two pips in it at once would break it: no parallelism, also under -j.
.NOTPARALLEL:

PYTHON ?= python3.13 python3.12 python3.11 python3 python
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)

VENV := .venv
BIN := $(VENV)/bin
# Stamps: what is installed follows pyproject.toml and constraints.txt. dev holds all that base holds.
BASE := $(VENV)/.installed-base
DEV := $(VENV)/.installed-dev
SPELLED := $(wildcard hmtools tests benchmarks docs recipes slurm .ci Makefile Dockerfile *.def *.md *.toml)

# A venv that was cut short, moved, or whose interpreter went away is made anew: its stamps are not believed.
VENV_WORKS = test -x $(BIN)/python && grep -qsF '$(CURDIR)/$(BIN)/' $(BIN)/pip
ifneq ($(shell $(VENV_WORKS) && echo yes),yes)
.PHONY: $(BASE) $(DEV)
endif

# $(call step,title,command): one line per step; what the tool says is shown only when it fails.
step = printf '%s ... ' "$(1)"; began=$$(date +%s); \
  if said=$$($(2) 2>&1); then echo "ok ($$(( $$(date +%s) - began )) s)"; \
  else echo failed; printf '%s\n' "$$said"; exit 1; fi

# $(call install,what pip gets): makes .venv with the first suitable interpreter if needed, then installs.
install = if ! { $(VENV_WORKS); }; then $(find_python); \
    $(call step,Making $(VENV) with $$($$python -V),$$python -m venv --clear $(VENV)); fi; \
  $(call step,Installing $(1) into $(VENV) (first time: a minute or more), \
    $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '$(1)')

find_python = python=; bare=; \
  for candidate in $(PYTHON); do \
    $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
    if $$candidate -c 'import ensurepip, venv' >/dev/null 2>&1; then python=$$candidate; break; fi; \
    bare=$${bare:-$$candidate}; \
  done; \
  if [ -z "$$python$$bare" ]; then \
    echo "hmtools needs Python 3.11 or newer; none found under the names: $(PYTHON)." >&2; \
    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name yours:" >&2; \
    echo "make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; \
  fi; \
  if [ -z "$$python" ]; then \
    package=$$($$bare -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
    echo "$$bare cannot make virtual environments: its modules venv and ensurepip are missing." >&2; \
    echo "Debian, Ubuntu: apt-get install $$package" >&2; exit 1; \
  fi

help:
	@sed -n 's/^#   //p' Makefile

$(BASE): pyproject.toml constraints.txt
	@$(call install,.)
	@touch $(BASE)

$(DEV): pyproject.toml constraints.txt
	@$(call install,.[dev])
	@touch $(BASE) $(DEV)

demo: $(BASE)
	@$(BIN)/hmtools demo --out demo

check: lint format types imports spelling

lint: $(DEV)
	@$(call step,Lint (ruff check),$(BIN)/ruff check --quiet)

format: $(DEV)
	@$(call step,Format (ruff format --check),$(BIN)/ruff format --check --quiet)

types: $(DEV)
	@$(call step,Types (mypy --strict),$(BIN)/mypy)

imports: $(DEV)
	@$(call step,Import directions (lint-imports),$(BIN)/lint-imports)

spelling: $(DEV)
	@$(call step,Spelling (codespell),$(BIN)/codespell $(SPELLED))

# One thread per test worker: several workers with a thread pool each would only fight for the cores.
test slow: export OMP_NUM_THREADS = 1

test: check
	@$(BIN)/python -m pytest -n $(CORES) --dist loadgroup -m 'not slow' --durations=20

slow: $(DEV)
	@$(BIN)/python -m pytest -n $(CORES) --dist loadgroup -m slow --durations=20

bench: $(DEV)
	@failed=0; for script in benchmarks/[!_]*.py; do echo "$$script"; $(BIN)/python "$$script" || failed=1; done; exit $$failed

clean:
	rm -rf $(VENV) demo dist build .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
