# Everything a developer does here. `make` lists the targets; the first one that needs it builds .venv.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first of these that is Python 3.11 or newer and can make a virtual environment is used.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11

FITNESS := import sys, importlib.util as u; \
  old = sys.version_info < (3, 11); \
  bare = not (u.find_spec("venv") and u.find_spec("ensurepip")); \
  sys.exit("is Python %d.%d, too old" % sys.version_info[:2] if old \
  else "cannot make virtual environments (Debian, Ubuntu: apt install python3-venv)" if bare else None)

.DEFAULT_GOAL := help
.PHONY: help venv demo test quick test-without-gurobi lint type bench bench-dra bench-int8 bench-engine bench-scaling bench-dispatch bench-claims bench-vnnlib bench-tune clean

help: ## list these targets
	@sed -n 's/^\([a-z0-9%-]*\):[^#]*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
	  while IFS='|' read -r target text; do printf '%-27s %s\n' "$$target" "$$text"; done

venv: $(STAMP) ## make .venv with qsmt and all tools in it, at the pinned versions

$(STAMP): pyproject.toml constraints.txt
	@python=; why=; \
	for candidate in $(PYTHON); do \
	  command -v "$$candidate" >/dev/null 2>&1 || continue; \
	  if reason=$$("$$candidate" -c '$(FITNESS)' 2>&1); then python=$$candidate; break; fi; \
	  why="$$why; $$candidate $$(printf '%s' "$$reason" | tail -n 1)"; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make: qsmt needs Python 3.11 or newer$${why:-; none of these is here: $(PYTHON)}; name one: make PYTHON=..." >&2; \
	  exit 1; \
	fi; \
	if [ ! -x $(BIN)/python ] || [ ! -x $(BIN)/pip ]; then \
	  echo "making $(VENV) with $$("$$python" --version)" >&2; \
	  "$$python" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "installing qsmt and its tools into $(VENV) (once; about a minute)" >&2
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP) ## a controller proved at 8 bits, refuted at 4, and the provable bound per bit width
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/pendulum/demo.sh

# One thread each for linear algebra: two processes on two cores that spin for each other are many times slower.
test: $(STAMP) ## all tests, on two processes
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

quick: $(STAMP) ## the tests that are not marked slow
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

# The tests that can meet a solver.
SOLVING := tests/conformance tests/differential tests/golden tests/plugin \
  tests/unit/cli tests/unit/engine tests/unit/milp tests/unit/solver

test-without-gurobi: $(STAMP) ## the quick tests that can meet a solver, as if gurobipy were not installed
	@OPENBLAS_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/tests/support/absent \
	  $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(SOLVING)

lint: $(STAMP) ## ruff, formatting, and the arrows between the packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

type: $(STAMP) ## mypy --strict
	@$(BIN)/mypy

bench: $(STAMP) ## the benchmarks, one family after the other
	@$(BIN)/python -m benchmarks.run

# One thread: what is measured is the cost of an analysis, not of threads that wait for each other.
bench-dra: $(STAMP) ## the difference analysis: widths of every mode beside published ones, and its speed
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.dra

bench-engine: $(STAMP) ## the search: two processes against one, enumeration against bare products, 50 kills
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.engine

bench-vnnlib: $(STAMP) ## VNN-LIB files: ACAS Xu in floats and in 8 to 16 bits, cart pole, lunar lander (hours)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.vnnlib_pairs --write benchmarks/results/vnnlib-pairs.md
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.vnnlib --log .bench-vnnlib.jsonl --write benchmarks/results/vnnlib.md

bench-int8: $(STAMP) ## files quantized by onnxruntime: bounds proved, broken and tightest; a million inputs bit by bit
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.int8
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.int8 bits
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.litert

bench-scaling: $(STAMP) ## CPU seconds of every encoding and solver on networks of growing size (35 minutes)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.scaling --write benchmarks/results/scaling.md

bench-dispatch: $(STAMP) ## how each solver's seconds grow with a query's size: what their order rests on (half an hour)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.dispatch --write benchmarks/results/dispatch.md

bench-claims: $(STAMP) ## what solvers in doubles claim about networks of wide codes, against every point (a quarter of an hour)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.claims

bench-tune: $(STAMP) ## the fewest bits per layer of public controllers, each result proved again (half an hour)
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.tune --write benchmarks/results/tune.md

bench-%: $(STAMP) ## one family: bench-pendulum, bench-exact, bench-acas, bench-properties, bench-pairs, bench-arch, bench-mnist
	@$(BIN)/python -m benchmarks.run $*

clean: ## remove .venv and everything that was built or cached
	@rm -rf $(VENV) build dist *.egg-info
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
