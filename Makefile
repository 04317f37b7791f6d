# `make` alone lists what there is: a target is in the list when its line ends in a ## comment.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SOURCE := bookstore actors web admin config

# A stamp is newer than what it was made from; when it is, there is nothing to install.
INSTALLED      := $(VENV)/.installed
INSTALLED_TEST := $(VENV)/.installed-test

# More for pytest, for example: make test PYTEST="tests/bookstore -k orders"
PYTEST ?= tests
# Without servers, browsers and kills.
FAST := tests/bookstore tests/actors tests/web tests/admin tests/config $(wildcard tests/test_*.py)

# Python keeps compiled files, even where the environment forbids it: compiling the tests takes four
# seconds in each process, and programs that tests start are compiled again each time.
COMPILED := PYTHONDONTWRITEBYTECODE=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install run test test-fast check format examples bench faults image machines judges lock sbom texts clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## virtual environment in .venv, from the lock file

run: $(INSTALLED) ## install, then the whole store in one process on http://127.0.0.1:8080
	@exec $(BIN)/bookstore run

test: $(INSTALLED_TEST) ## all tests, with real MariaDB, RabbitMQ, Chromium, Prometheus (installs what is missing)
	@tests/servers/install.sh
	@# Each file in one process: fixtures of a file share expensive things.
	@$(COMPILED) $(BIN)/pytest -n 2 --dist loadfile --durations=10 $(PYTEST)

test-fast: $(INSTALLED_TEST) ## tests on SQLite, without servers, browsers and kills: for every few minutes
	@$(COMPILED) $(BIN)/pytest -n 2 --dist loadfile --durations=10 -m "not mariadb and not rabbitmq and not slow" $(FAST)

check: $(INSTALLED_TEST) ## format, lint, types and import contracts; changes nothing
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy --strict $(SOURCE)
	@$(BIN)/lint-imports --no-logo

format: $(INSTALLED_TEST) ## put the code in shape: ruff format, and what ruff can fix by itself
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

examples: $(INSTALLED_TEST) ## write the examples of the API's description down anew
	@WRITE_EXAMPLES=1 $(BIN)/pytest -q tests/web/api/test_examples.py

bench: $(INSTALLED_TEST) ## benchmarks, each beside its limit; by hand, on a quiet machine
	@tests/servers/install.sh
	@$(BIN)/python -m tests.benchmarks

faults: $(INSTALLED_TEST) ## 660 kills and the other faults in rounds; by hand, under two hours, goes on where it was
	@tests/servers/install.sh
	@$(BIN)/python -m tests.faults

image: $(INSTALLED_TEST) ## the Dockerfile's steps without a container engine (as root, with debootstrap)
	@tests/servers/install.sh
	@$(BIN)/python -m tests.deploy.image

machines: $(INSTALLED_TEST) ## README and operator's guide typed on clean machines (as root, with debootstrap)
	@tests/servers/install.sh
	@FAULTS=full $(BIN)/pytest -k clean_machine tests/deploy

# The machine's own pip settings are kept out of it, so that every hash is the public index's.
PIP_COMPILE := PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= CUSTOM_COMPILE_COMMAND="make lock" \
	build/pip-tools/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--all-build-deps --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

judges: $(INSTALLED_TEST) ## outside checkers of the API and the pages (needs Node 20, Java, Chromium); JUDGES="api redocly"
	@$(BIN)/python -m tests.judges $(JUDGES)

lock: ## work both lock files out again; add UPGRADE=--upgrade for newer versions
	@test -x build/pip-tools/bin/pip-compile || { \
		$(PYTHON) -m venv build/pip-tools && build/pip-tools/bin/pip install --quiet pip-tools; }
	$(PIP_COMPILE) $(UPGRADE) --output-file requirements.lock setup.py
	$(PIP_COMPILE) $(UPGRADE) --extra test --constraint requirements.lock \
		--output-file requirements-test.lock setup.py

# In an environment of its own, so that it does not name itself.
SBOM := build/cyclonedx/bin/cyclonedx-py

sbom: ## bill of materials from the lock file (CycloneDX 1.6): build/bookstore.cdx.json
	@test -x $(SBOM) || { \
		$(PYTHON) -m venv build/cyclonedx && build/cyclonedx/bin/pip install --quiet 'cyclonedx-bom>=7.5,<8'; }
	@$(SBOM) requirements --sv 1.6 --output-reproducible --validate \
		--output-file build/bookstore.cdx.json requirements.lock

texts: $(INSTALLED_TEST) ## collect the texts for customers in bookstore/locale, for translators
	@mkdir -p build
	@$(BIN)/pybabel -q extract -F babel.cfg -k N_ -k _ -k ngettext:1,2 -k __init__ -k Invalid:2 \
		-k NotFound -k sentence --no-location --sort-output -o build/bookstore.pot .
	@$(BIN)/pybabel -q update -i build/bookstore.pot -d bookstore/locale -D bookstore \
		--no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date

clean: ## remove what was built and installed here; var/ stays
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "The bookstore needs Python 3.11 or later; name one with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): requirements.lock setup.py pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	@# The lock has the build tool too, so that nothing is fetched here.
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

$(INSTALLED_TEST): requirements-test.lock $(INSTALLED)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-test.lock
	@touch $@
