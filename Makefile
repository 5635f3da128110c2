# Needs python3 (3.10 or newer, with venv) and make; the rest comes from the package registries.
# Another interpreter: make test PYTHON=python3.13. Each one has environments of its own in .venv/.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
ARGS ?=
EXAMPLES ?= 2000
# More than there are cores, as each waits for servers and browsers half of the time.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count() + 2, 8))')

VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
DEV := .venv/py$(VERSION)
DEMO := .venv/demo-py$(VERSION)
# Which tests, and how they are spread over the processes.
SELECTED = not slow
DIST = worksteal
LOWEST := .venv/lowest-py$(VERSION)
INSTALL := python -m pip install -qq --disable-pip-version-check
# What depends on other packages' versions, and needs no database server or browser.
LOWEST_TESTS := tests/consumers tests/core/test_contract.py tests/core/test_encryption.py \
	tests/test_checks.py tests/test_health.py tests/test_metrics.py tests/test_middleware.py \
	tests/test_redis_options.py tests/test_serializers.py tests/test_tracing.py

.DELETE_ON_ERROR:
.PHONY: help free-port demo superuser test announce test-suite test-slow test-full test-redis lowest coverage model chaos outages bench lint types layers js docs messages lock build clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(DEV)/.installed: WHAT = --editable . --group dev
$(DEMO)/.installed: WHAT = --editable '.[demo]'
$(LOWEST)/.installed: WHAT = --editable . --group test --constraint requirements/lowest.txt
$(LOWEST)/.installed: requirements/lowest.txt
$(DEV)/.installed $(DEMO)/.installed $(LOWEST)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed; $(PYTHON) is %d.%d." % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'
	@echo "Making the environment $(@D) ..."
	@$(PYTHON) -m venv $(@D)
	@# Groups need pip 25.1, and an interpreter brings the pip of its own day.
	@$(if $(findstring --group,$(WHAT)),$(@D)/bin/$(INSTALL) --upgrade 'pip>=25.1')
	@$(@D)/bin/$(INSTALL) --upgrade $(WHAT)
	@touch $@

node_modules/.installed: package-lock.json
	@if command -v npm >/dev/null; then npm ci --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm isn't here: tests with the npm clients are left out."; fi

# Before anything is installed, which takes a while.
free-port:
	@$(PYTHON) -c ''
	@$(PYTHON) -c 'import socket; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("$(HOST)", $(PORT)))' 2>/dev/null \
		|| { echo "Port $(PORT) of $(HOST) is taken. Choose another: make demo PORT=8001"; exit 1; }

demo: export DJANGO_SETTINGS_MODULE = example_project.settings
demo: export REDIS_URL ?=
demo: free-port $(DEMO)/.installed ## Start the example on http://127.0.0.1:8000 (PORT=..., REDIS_URL=redis://... for many nodes)
	@$(DEMO)/bin/python manage.py migrate --verbosity 0
	@printf '\n  The demo is at http://$(HOST):$(PORT)/   (Ctrl-C stops it)\n  Try a crash: kill -9 %s, then the same command again.\n  What is stored: http://$(HOST):$(PORT)/admin/   ("make superuser" makes a login)\n\n' $$$$; \
	exec $(DEMO)/bin/python -m uvicorn example_project.asgi:application --host $(HOST) --port $(PORT) --timeout-graceful-shutdown 3

superuser: export DJANGO_SETTINGS_MODULE = example_project.settings
superuser: $(DEMO)/.installed ## Make somebody who may log in to the example's admin, at /admin/
	@$(DEMO)/bin/python manage.py migrate --verbosity 0
	@$(DEMO)/bin/python manage.py createsuperuser

# The packages of Python and npm are fetched at the same time. Style is checked at once; types and
# layers take a while, in which the first tests wait for servers and browsers anyway.
test: announce ## Run every check and the tests: some minutes (ARGS=... for pytest)
	@$(MAKE) --silent --no-print-directory --jobs=2 $(DEV)/.installed node_modules/.installed
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory --jobs=2 types test-suite layers


announce:
	@printf '%s\n' \
		'make test checks style, types and layers, and then runs about 7,200 tests in $(WORKERS) processes' \
		'(WORKERS=...). They start real servers and browsers, on free ports of this machine only. On two idle' \
		'cores it takes about seven minutes. "make test-slow" runs what takes longer; "make help" lists the rest.'

# Where the environment forbids it, each process would compile each module and each test anew.
test-suite: export PYTHONDONTWRITEBYTECODE =
test-suite: $(DEV)/.installed node_modules/.installed ## Run the tests, and no other check (WORKERS=0: in one process)
	@$(DEV)/bin/python -m pytest -n $(WORKERS) --dist $(DIST) -m '$(SELECTED)' $(ARGS)

test-slow: DIST = loadfile
test-slow: SELECTED = slow
test-slow: test-suite ## Run what installs, builds, or runs servers for long: README and tutorial word for word, chaos, deploys

test-full: SELECTED =
test-full: export TESTS = full
test-full: export RACE_PROCESSES = 4
test-full: export RACE_TURNS = 200
test-full: export RECOVERY_RACE_PROCESSES = 4
test-full: export RECOVERY_RACE_SAVES = 300
test-full: export THROWS = 50
test-full: test-suite ## Run all tests, on all storages in each way, with longer races

test-redis: $(DEV)/.installed ## Run what speaks to Redis (REDIS_SERVER=valkey-server for another server)
	@$(DEV)/bin/python -m pytest -n $(WORKERS) --dist worksteal -k redis \
		tests/test_redis_*.py tests/core/test_contract.py $(ARGS)

lowest: $(LOWEST)/.installed ## Run a part of the tests with the lowest version of each dependency
	@$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(LOWEST_TESTS) $(ARGS)

coverage: override ARGS := --cov $(ARGS)
coverage: test-suite ## Run the tests with branch coverage, which takes two or three times as long

model: export MODEL_EXAMPLES = $(EXAMPLES)
# Not the directory: pytest 9 leaves out a file that is named beside it.
model: $(DEV)/.installed node_modules/.installed ## Run client and server against each other (EXAMPLES=...), and break each rule once
	@$(DEV)/bin/python -m pytest --no-cov tests/model/test_*.py tests/model/rules_broken.py $(ARGS)

chaos: export CHAOS = long
chaos: export SEED ?=
chaos: export EVENTS ?=
chaos: $(DEV)/.installed node_modules/.installed ## Run the chaos kit at full size, hours (EVENTS=200 for a tenth, SEED=..., ARGS="-k 'npm and redis'")
	@$(DEV)/bin/python -m pytest --no-cov -s -o faulthandler_timeout=0 tests/chaos/test_run.py $(ARGS)

outages: $(DEV)/.installed ## Record anew what alerts are tested on: real outages, some minutes (ARGS=... for some)
	@$(DEV)/bin/python -m tests.outages.record $(ARGS)

bench: $(DEV)/.installed node_modules/.installed ## Run the benchmarks, half an hour or so (ARGS=--quick for minutes, ARGS="events redis" for some)
	@$(DEV)/bin/python -m benchmarks $(ARGS)

lint: $(DEV)/.installed ## Check style and format
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/ruff format --check .

types: $(DEV)/.installed ## Check types
	@$(DEV)/bin/mypy

layers: $(DEV)/.installed ## Check that each layer imports downward only
	@$(DEV)/bin/lint-imports --no-cache

js: node_modules/.installed ## Build recovery.js, its types and its minified form from js/src
	@npm run --silent build

docs: $(DEV)/.installed ## Build the documentation into docs/_build
	@$(DEV)/bin/python -m sphinx --fail-on-warning --keep-going -q docs docs/_build
	@echo "Open docs/_build/index.html"

messages: $(DEV)/.installed ## Write the translations anew, after a change of a text, and say what they lack
	@$(DEV)/bin/python -m tests.support.messages

lock: $(DEV)/.installed ## Write uv.lock anew, after a change of the requirements
	@$(DEV)/bin/$(INSTALL) uv
	@$(DEV)/bin/uv lock --quiet

build: $(DEV)/.installed ## Make the sdist and the wheel in dist/
	@$(DEV)/bin/python -m build

clean: ## Remove what was made here: environments, the demo's data
	@rm -rf .demo .venv node_modules build dist docs/_build htmlcov .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
