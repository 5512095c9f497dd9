# Every target makes its own environment under .venv/ from a bare python3 and installs what it needs.
PYTHON ?= python3
VENV := .venv
PIP := -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test lint bench docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    train on real handwritten digits, write report.html      (about a minute, most of it installing)"
	@echo "make test    lint, then every test, from nothing                      (budget 15 minutes on two cores)"
	@echo "make lint    ruff, mypy --strict, import-linter, file length"
	@echo "make bench   the speed figures, beside the other libraries"
	@echo "make docs    the reference, from the docstrings, into build/docs"
	@echo "make clean   remove environments and builds"

demo: $(VENV)/demo/ready
	@$(VENV)/demo/bin/chainrule demo

test: $(VENV)/dev/ready
	@$(VENV)/dev/bin/python tools/check.py lint test

lint: $(VENV)/dev/ready
	@$(VENV)/dev/bin/python tools/check.py lint

bench: $(VENV)/dev/ready
	@$(VENV)/dev/bin/python -m benchmarks

docs: $(VENV)/docs/ready
	@$(VENV)/docs/bin/python tools/reference.py build/docs

clean:
	rm -rf $(VENV) build dist

# One rule makes each environment. A stamp newer than pyproject.toml says that it is up to date.
$(VENV)/demo/ready: EXTRAS := sklearn
$(VENV)/dev/ready: EXTRAS := dev
$(VENV)/docs/ready: EXTRAS := sklearn,docs

$(VENV)/%/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "chainrule needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V 2>&1)."; \
		echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Making the environment $(VENV)/$* (once) ..."
	@$(PYTHON) -m venv --clear $(VENV)/$* || { \
		echo "$(PYTHON) cannot make environments. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(VENV)/$*/bin/python $(PIP) --editable ".[$(EXTRAS)]"
	@touch $@
