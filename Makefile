# Everything a fresh machine with Python 3.11, make and the package registry needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup demo test format clean browser postgres

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/singalong demo

# The review page is tested in a real browser where there is one; this gets it where that asks nobody anything.
browser:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && { timeout 300 apt-get -qq update && timeout 300 apt-get -qq -y --no-install-recommends install chromium; } >/dev/null 2>&1; } \
	  || echo "no chromium: the review page is not tested in a browser"

# Schedules are tested on a real Postgres, too, where there is one: the tests make a cluster of their own.
postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	  && { timeout 300 apt-get -qq update && timeout 300 apt-get -qq -y --no-install-recommends install postgresql; } >/dev/null 2>&1; } \
	  || echo "no Postgres: schedules are tested on SQLite alone"

test: setup browser postgres
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo-run
