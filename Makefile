# Everything a person or a machine needs to run and check Lineclear. `make help` lists it.

# The first that really runs and is new enough: a version manager may leave names behind that start nothing.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do \
  $$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
DATA ?= .data
UP_FLAGS ?=
# Of `make sbom`, such as [local,postgres]; none without it.
EXTRAS ?=
comma := ,

.PHONY: help up test test-full check bench docs pictures prices wheel sbom
.DEFAULT_GOAL := help

help: ## list these
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

up: .venv/.local ## set up and start the platform with its bundled models, in the foreground
	@.venv/bin/lineclear models pull smollm2 minilm >/dev/null || \
	  echo "make: starting with the models that are here, and the route 'simulated'. Run make up again to retry."
	@exec .venv/bin/lineclear up --data $(DATA) $(UP_FLAGS)

test: .venv/.dev ## set up what the tests need and run them all; prints each part with its time
	@sh scripts/system_packages.sh
	@.venv/bin/lineclear models pull smollm2 minilm magika
	@.venv/bin/python scripts/parts.py

test-full: .venv/.dev ## the same in the long form: 200 kills, 60 s without control, the container image built and run
	@sh scripts/system_packages.sh --full
	@.venv/bin/lineclear models pull smollm2 minilm magika
	@.venv/bin/python scripts/parts.py --full

check: .venv/.dev ## style, types, import contracts
	@.venv/bin/python scripts/parts.py style types contracts

bench: .venv/.dev ## speed beside nginx, on pinned cores
	@sh scripts/system_packages.sh
	@.venv/bin/python benchmarks/gateway.py $(BENCH_FLAGS)

docs: .venv/.dev ## check that the documentation says what the code does
	@.venv/bin/python scripts/parts.py docs

pictures: .venv/.dev ## make the pictures of the documentation anew, from demo data in a real browser
	@sh scripts/system_packages.sh
	@.venv/bin/python -m lineclear.testing.pictures docs/pictures

wheel: .venv/.dev ## build the wheel into dist/
	@.venv/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls -l dist/*.whl

sbom: .venv/.dev ## write the bill of materials (CycloneDX) of an installation without extras into dist/
	@rm -rf dist/.sbom && $(PYTHON) -m venv dist/.sbom
	@dist/.sbom/bin/pip install --quiet --disable-pip-version-check '.$(EXTRAS)'
	@.venv/bin/python scripts/sbom.py --path "$$(dist/.sbom/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
	  $(foreach extra,$(subst $(comma), ,$(patsubst [%],%,$(EXTRAS))),--extra $(extra)) --output dist/lineclear.cdx.json
	@rm -rf dist/.sbom

prices: .venv/.dev ## write the dated price file anew from genai-prices
	@.venv/bin/python scripts/prices.py

.venv/bin/pip:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer with the venv module was found; \
	on Debian and Ubuntu: apt-get install python3-venv. Or name one: make PYTHON=…"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo "make: the venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"; rm -rf .venv; exit 1; }

.venv/.local: pyproject.toml | .venv/bin/pip
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[local]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/pip
	.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
