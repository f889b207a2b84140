# Every target sets up what it needs in .venv; python3 (3.11 or newer, with venv) and make are enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The constraints hold for the build backend too: pip reads the first variable before 25.3 and the second since.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Two test workers, one thread each, so that they do not fight for the cores. XLA takes the size of its CPU thread
# pools from NPROC (its flag xla_cpu_multi_thread_eigen does not do it); the others are for numpy and scipy.
TEST_WORKERS ?= 2
ONE_THREAD := NPROC=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
# Compiling takes longer than running at these sizes, and this way of making loops takes a quarter less of it.
QUICK_COMPILER := XLA_FLAGS="$$XLA_FLAGS --xla_cpu_use_fusion_emitters=false"

BENCHMARKS := $(sort $(wildcard benchmarks/bench_*.py))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Two pips must not write to one .venv at once.
.NOTPARALLEL:
.PHONY: help demo test lint docs bench constraints clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s%s\n", $$1, $$2 }'

demo: $(VENV)/.installed-report ## fuse a simulated observation and show the result
	$(BIN)/hifred demo

# Files keep the order of tests/conftest.py: the longest first.
test: $(VENV)/.installed-test ## run the tests
	$(ONE_THREAD) $(QUICK_COMPILER) $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.installed-lint ## check style, types and the import direction
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo

# -E reads every page: a warning of an unchanged page would otherwise be shown only once.
docs: $(VENV)/.installed-docs ## build the documentation in docs/_build/html
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.installed-runtime ## run every benchmarks/bench_*.py in turn
	@test -n "$(BENCHMARKS)" || echo "There is no benchmarks/bench_*.py."
	@set -e; for script in $(BENCHMARKS); do echo "$$script"; $(BIN)/python "$$script"; done

# hatchling and editables are needed by the build alone, so they are named here to be pinned with the rest.
# soupsieve 3 refuses Python 3.11.0 to 3.11.4, which hifred accepts.
constraints: ## write constraints.txt anew with the latest versions
	@$(call check_python)
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	env -u PIP_CONSTRAINT -u PIP_BUILD_CONSTRAINT build/constraints/bin/python -m pip install \
		--quiet --disable-pip-version-check hatchling editables 'soupsieve<3' -e '.[test,lint,docs]'
	{ echo "# Versions that make installs. Regenerate with: make constraints"; \
		build/constraints/bin/python -m pip freeze --disable-pip-version-check --exclude-editable; } \
		> build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/constraints

clean: ## remove built files and caches, but not .venv
	rm -rf build dist docs/_build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# One stamp for each set of dependencies: done once, and again when the requirements change.
$(VENV)/.installed-runtime: requirement = .
$(VENV)/.installed-%: requirement = .[$*]
$(VENV)/.installed-%: pyproject.toml constraints.txt $(VENV)/.created
	@echo "Installing hifred ($*) in $(VENV)"
	@$(PIP_INSTALL) -e '$(requirement)'
	@touch $@

# An earlier attempt without ensurepip leaves a .venv without pip; --clear starts again.
$(VENV)/.created:
	@$(call check_python)
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

define check_python
command -v $(PYTHON) > /dev/null 2>&1 || { \
	echo "hifred needs Python 3.11 or newer, but $(PYTHON) was not found." >&2; exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "hifred needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
		"Give another with: make PYTHON=/path/to/python3" >&2; exit 1; }; \
$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null || { \
	echo "$(PYTHON) has no venv or ensurepip module. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
endef
