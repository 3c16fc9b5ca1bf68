# Nine words: quickstart, view, check, test, test-system, test-slow, bench, docs, results; and clean. Needs Python
# 3.11 or newer, with pip.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart view check test test-system test-slow bench docs results clean

quickstart: .venv/installed  ## train the U-maze from scratch and draw what was learned, about 3 minutes
	$(BIN)/goalward quickstart

view: .venv/installed-view  ## an agent of the package in the browser: click where it shall go
	$(BIN)/goalward view point_u_maze

test: .venv/installed-dev check  ## style, types, layers and tests, within a quarter of an hour
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow and not system" --cov=goalward --cov-fail-under=90

test-system: .venv/installed-system  ## tests that need a real part: other versions of libraries, Ray, Slurm, trackers, environments of others
	$(BIN)/pytest -m system

test-slow: .venv/installed-dev  ## tests that learn and measure, about an hour
	$(BIN)/pytest -m slow

check: .venv/installed-dev  ## style, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

bench: .venv/installed-dev  ## speed against the machine's limit and the textbook, a quarter of an hour
	$(BIN)/python -m benchmarks.learner
	$(BIN)/python -m benchmarks.iteration
	$(BIN)/python -m benchmarks.physics

docs: .venv/installed-docs  ## the site of these docs, in site/; a warning is an error
	$(BIN)/python -m website

# Studies whose reports are pages of docs/results, and the pages of those that look at the runs of one of them.
TRAINED := depth depth_point_u4 stitching objectives censoring what_depth_does successors_depth baselines offline \
  offline_actor_critic arm_depth collector maze_observation boxes_depth depth_longer \
  body_depth baselines_depth hyperspherical metric_heads value_loss successors body_longer exploration_clip \
  saturation depth_replicated depth_64 actor_critic
looks = set -e; for study in $(2); do \
  $(BIN)/goalward report runs/$(1)-laptop --study $$study --out docs/results/$$study.md --force; done

results: .venv/installed-dev  ## the pages of docs/results, from the sweeps in runs/
	set -e; for study in $(TRAINED); do \
	  $(BIN)/goalward report runs/$$study-laptop --out docs/results/$$study.md --force; done
	$(call looks,depth_point_u4,q_map embedding block_norms)
	$(call looks,collector,collector_greedy collector_ways)
	$(call looks,offline,offline_map offline_actions offline_greedy offline_ways)

clean:
	rm -rf .venv build dist site *.egg-info .pytest_cache .ruff_cache .coverage*

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/installed: .venv/bin/python pyproject.toml requirements.lock
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --group dev
	touch $@

.venv/installed-view: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[view]'
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --group docs
	touch $@

.venv/installed-system: .venv/installed-dev .venv/installed-docs
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --group others --group browser --editable '.[gym,ray,slurm,wandb,mlflow]'
	touch $@
