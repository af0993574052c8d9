# Everything runs in .venv, which is made when it is missing and brought up to date when pyproject.toml changes.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test lint clean

demo: .venv/ready
	$(BIN)/jepa-rl demo

test: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p typings/jepa_rl
	ln -sfn $(addprefix ../../,agent envs planners scripts world_model) typings/jepa_rl/
	$(BIN)/mypy -p jepa_rl.agent -p jepa_rl.envs -p jepa_rl.planners -p jepa_rl.scripts -p jepa_rl.world_model

.venv/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=23.2" "setuptools>=77"
	# First and exactly: a looser requirement may bring gigabytes of CUDA libraries.
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable ".[report,wandb,dev]"
	touch $@

clean:
	rm -rf .venv build dist typings *.egg-info
