# make demo: install, augment the embedded data set, evaluate it, leave a picture.   make test: install, lint, test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test processes share the cores: one thread each is faster than all of them fighting for all cores.
TEST_THREADS ?= 1

.PHONY: setup demo test lint bench docs fuzz faults mutants clean

setup: $(VENV)/.installed

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 12) else "The exact versions of constraints.txt need Python 3.11 or 3.12: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/patn-augment generate --ratio 0.5
	$(BIN)/patn-augment sheet "$$(ls -d runs/augmented-*/ | sort | tail -n 1 | sed 's,/$$,,')" --out runs/demo-sheet.png
	@echo "Look at runs/demo-sheet.png: condition, target pose, generated, real image in that pose."
	$(BIN)/patn-augment reid-eval --backbone resnet50
	@echo "For the command patn-augment itself: source $(VENV)/bin/activate"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	OMP_NUM_THREADS=$(TEST_THREADS) $(BIN)/pytest -n auto --dist worksteal --durations=30

bench: setup
	$(BIN)/python tests/bench/bench.py

# The pages as a site in build/html, which opens from disk; a broken link ends it.
docs: setup
	$(BIN)/python docs/site.py build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "Open build/html/index.html"

# Ten minutes of other broken files every time; docs/faults.md and SECURITY.md say what for.
fuzz: setup
	FUZZ_MINUTES=$${FUZZ_MINUTES:-10} FUZZ_FIRST=$$(date +%s) $(BIN)/python -m pytest -q -s tests/fuzz

# Jobs killed at numbered points of their writes, and given again: an hour or so.
faults: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/kill.py

# One change at a time in the parts that must not be wrong: do the tests see it? docs/mutants.md has the answers.
mutants: setup
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants/run.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
