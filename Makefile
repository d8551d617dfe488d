# Everything runs in the .venv that `python3 bridge/bootstrap.py` makes.
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest
PARALLEL := -n $(shell n=$$(nproc); echo $$((n < 4 ? n : 4)))

.PHONY: help install demo test lint types unit acceptance faults kills soak fuzz parity bench load

help: ## list the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

install: ## make .venv and install everything
	python3 bridge/bootstrap.py install

demo: ## simulated refinement through hook, daemon and network; report in demo-output/
	python3 bridge/bootstrap.py demo

test: ## linters, type checker and all tests
	python3 bridge/bootstrap.py test

lint: install ## ruff
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check

types: install ## mypy, strict
	$(PYTHON) -m mypy

unit: install ## fast tests, in a minute
	$(PYTEST) $(PARALLEL) -m 'not slow' tests/unit tests/typing

parity: install ## against RELION's own programs
	$(PYTEST) tests/parity

acceptance: install ## real daemon and hooks; real RELION where installed
	$(PYTEST) tests/acceptance

faults: install ## kill, stop and starve real processes
	$(PYTEST) tests/faults

SEED ?=
KILLS ?= 500
kills: install ## KILLS=500 of daemon and workers under load, a history checker decides; report in kills-output/
	PYTHONPATH=tests $(PYTHON) -m kills --kills $(KILLS) $(if $(SEED),--seed $(SEED)) --report kills-output

MINUTES ?= 30
soak: install ## everything at once for MINUTES=30, on a schedule of SEED; report in soak-output/
	PYTHONPATH=tests $(PYTHON) -m soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) --report soak-output

fuzz: install ## hostile files and frames, long
	CRYOBRIDGE_FUZZ_EXAMPLES=100000 $(PYTEST) --timeout=0 tests/fuzz

bench: install ## a real refinement with the stock tool and with the bridge; table in docs/BENCHMARKS.md
	$(PYTHON) bench/relion.py --output bench-output --write

load: install ## one daemon under 200 hooks at once and 1,000 queued jobs; table in docs/BENCHMARKS.md
	$(PYTHON) bench/load.py --write
