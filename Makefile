# make run    live containers in a terminal          make test   the whole suite
# make check  linters, types, import contracts       make bench  side by side with runc, crun, podman, docker
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready
ARGS ?=

.PHONY: run test check bench clean setup
setup: $(STAMP)

$(STAMP): pyproject.toml tools/setup.sh tools/scripts.py tools/pyctr-runtime
	@sh tools/setup.sh "$(VENV)"
	@touch $@

run: $(STAMP)
	@$(VENV)/bin/pyctr-tui --demo $(ARGS)

test: $(STAMP)
	@sh tools/test.sh "$(VENV)" $(ARGS)

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(STAMP)
	@$(PY) -m bench $(ARGS)

clean:
	rm -rf "$(VENV)" dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
