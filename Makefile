# SPDX-License-Identifier: GPL-2.0-only
# Set-up and the two commands of the README; everything else is `guprace` itself.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
GUPRACE := $(VENV)/bin/guprace
MATRIX ?= configs/quick.yaml
.DEFAULT_GOAL := help
.PHONY: help setup packages run test lint unit guest clean

help:  ## Show this list.
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

packages:  ## Install the missing system packages (one apt-get install; as root or through sudo).
	@missing=$$(awk '!/^#/ && NF {print $$1}' configs/host-packages.txt | while read -r package; do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done | xargs); \
	[ -z "$$missing" ] && exit 0; \
	install="apt-get install -y --no-install-recommends $$missing"; \
	if [ $$(id -u) = 0 ]; then sudo=; \
	elif sudo -n true 2>/dev/null; then sudo="sudo -n"; \
	else echo "missing packages; run this as root, then make again:"; echo "    apt-get update && $$install"; exit 3; fi; \
	echo "+ $$sudo $$install"; \
	{ $$sudo apt-get update && $$sudo env DEBIAN_FRONTEND=noninteractive $$install; } || exit 3

setup: packages $(VENV)/.ready  ## Make everything ready: packages and the virtual environment.

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: setup  ## Build, boot, race and judge configs/quick.yaml (or MATRIX=...).
	$(GUPRACE) run $(MATRIX)

lint: setup  ## ruff and mypy.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# They wait for fake guests more than they compute: more workers than cores, and the slow ones shared out.
unit: setup  ## Tests without a guest, on all cores.
	$(VENV)/bin/pytest -m 'not guest' -n $$((2 * $$(nproc))) --dist worksteal

test: lint unit  ## All tests: lint, unit, then real kernels in real guests.
	$(VENV)/bin/pytest -m guest

clean:  ## Remove what runs and set-up left in this checkout (the cache stays).
	rm -rf runs $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
