# Two commands: `make book` opens the course, `make test` proves it. Each sets up what it
# needs. `make lab` is for working through the exercises.

PYTHON ?= python3
BIN := .venv/bin
BOOK := .build/book/_build/html
PORT ?= 8000
# One pytest worker per core that the tests may use.
WORKERS ?= 2

export FIVE_SUNDAYS_BOOK := $(CURDIR)/$(BOOK)

.PHONY: book site lab test lint unit notebooks-test gpu-test llama-test notebooks clean

book: site
	@exec $(BIN)/python -m course.serve_book --port $(PORT) --folder $(BOOK)

# Builds the book; warnings are errors. A build that hangs is stopped.
site: .build/installed
	@$(BIN)/python -m course.build_book

lab: .build/installed
	@$(BIN)/sundays lab

test: lint site unit notebooks-test
	@echo "All tests passed."

lint: .build/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: site
	$(BIN)/python -m pytest tests --numprocesses $(WORKERS) --dist loadfile
	$(BIN)/python -m pytest --doctest-modules course solutions mine

# Every notebook three times: as committed, with the solutions, with wrong answers.
notebooks-test: .build/installed
	rm -rf .build/solved .build/spoiled
	$(BIN)/python -m course.notebooks solve .build/solved
	$(BIN)/python -m course.notebooks spoil .build/spoiled
	$(BIN)/python -m pytest --nbval --nbval-current-env --nbval-cell-timeout 90 \
	  --numprocesses $(WORKERS) --dist loadfile chapters .build/solved .build/spoiled

# The same run on a machine with a GPU: fails unless CUDA did the work. What ran is kept in
# course/records/executions_gpu.json, for the page of the book that says so.
gpu-test: .build/installed
	rm -rf .build/gpu
	$(BIN)/python -m course.notebooks gpu .build/gpu
	$(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout 90 \
	  --junitxml .build/gpu.xml .build/gpu
	$(BIN)/python -m course.executions gpu .build/gpu.xml
	$(BIN)/python -m pytest tests/test_checks.py
	rm -rf .build/gpu-run
	$(BIN)/sundays train stories:2000000 --device cuda --steps 200 --out .build/gpu-run
	$(BIN)/python -m benchmarks.training

# Exported models in llama.cpp itself, which is compiled for this in an environment of its
# own: that needs a C++ compiler and takes some minutes, once.
llama-test: .build/installed .build/llama-venv/installed
	$(BIN)/python -m pytest tests_llama

.build/llama-venv/installed: tests_llama/requirements.txt | .build/installed
	$(BIN)/python -m venv .build/llama-venv
	CMAKE_ARGS=-DLLAVA_BUILD=OFF CMAKE_BUILD_PARALLEL_LEVEL=$(WORKERS) \
	  .build/llama-venv/bin/python -m pip install --quiet -r $<
	@touch $@

# Runs all notebooks again and keeps their outputs and the results on the ladder.
notebooks: .build/installed
	$(BIN)/python -m course.notebooks execute
	$(BIN)/python -m course.ladder

# A changed list of packages is installed in one call: a second one could undo the first.
.build/installed: requirements.txt constraints.txt pyproject.toml
	@mkdir -p .build
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else \
	  f"Five Sundays needs Python 3.11, 3.12 or 3.13; this is {v[0]}.{v[1]}. Try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt -e .
	@touch $@

clean:
	rm -rf .venv .build *.egg-info .pytest_cache .ruff_cache .hypothesis
