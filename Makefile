# make demo    see it work on a clip made here, or on yours: make demo CLIP=path
# make check   what tells most in two minutes: style, types, and every test that is not slow
# make test    every check there is
# make bench   frames per second beside deface: make bench CLIPS="a.mp4 b.mp4"
# make results   docs/results.md anew, of your photos: make results PHOTOS=folder [LIMIT=200] [CLIPS="a.mp4 b.mp4"]
# make clean   remove everything that was made here, .venv included
#
# Needs Python 3.11 or 3.12 and make. To choose the Python: make PYTHON=/path/to/python3.12 demo

PYTHON ?=
CLIP ?=
CLIPS ?=
ROUNDS ?= 3
PHOTOS ?=
LIMIT ?= 200
DOCS ?= docs
RECOGNIZERS ?= dlib identity

CANDIDATES := $(or $(PYTHON),python3.12 python3.11 python3)
VENV := .venv
BIN := $(VENV)/bin
PINNED := pyproject.toml constraints.txt
# One thread of torch in each of the two: with more than there are cores, threads wait for each other's turn.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile
INSTALL := $(BIN)/python -m pip install --no-compile --disable-pip-version-check -c constraints.txt
# On every core; pip compiles on one. What is no Python of this version is left out, as by pip; and what nothing here
# imports, half of it all.
UNUSED := /(tests?|pip|jax|jaxlib|_inductor|ray/(data|rllib|serve|train|tune))/
COMPILE := $(BIN)/python -m compileall -q -j 0 -x '$(UNUSED)' $(VENV)/lib >/dev/null 2>&1 || true

.PHONY: demo check test bench results clean

demo: $(VENV)/.installed
	$(BIN)/veil demo $(if $(CLIP),"$(CLIP)")

check: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PYTEST) -m "not slow" --no-unmarked

test: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(PYTEST) -rs

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/deface.py --rounds $(ROUNDS) $(CLIPS)

results: $(VENV)/.installed-dev
	@test -n "$(PHOTOS)" || { echo "which photos? make results PHOTOS=folder" >&2; exit 1; }
	$(BIN)/python -m benchmarks.results "$(PHOTOS)" --limit $(LIMIT) --docs "$(DOCS)" \
	    $(foreach each,$(RECOGNIZERS),--recognizer "$(each)") $(foreach clip,$(CLIPS),--clip "$(clip)")

clean:
	rm -rf $(VENV) out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: $(PINNED) | $(BIN)/pip
	$(INSTALL) -e .
	@$(COMPILE)
	@touch $@

$(VENV)/.installed-dev: $(PINNED) | $(BIN)/pip
	$(INSTALL) -e '.[eval,dev]'
	@$(COMPILE)
	@touch $@ $(VENV)/.installed

# A candidate may be a stub that fails when run, or lack venv (Debian's python3 without python3-venv): ask it.
$(BIN)/pip:
	@for python in $(CANDIDATES); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
	        2>/dev/null; then \
	        echo "setting up $(VENV) with $$("$$python" --version)"; \
	        "$$python" -m venv $(VENV) && exit 0; rm -rf $(VENV); exit 1; \
	    fi; \
	done; \
	echo "veil needs Python 3.11 or 3.12 with venv; tried $(CANDIDATES)." \
	    "Install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
	exit 1
