# Two commands: `make repro` gets a fine-tuned voice with measurements and a page to listen to, `make test` proves it.
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python
DONE := $(VENV)/.done

# DVC runs stages with $SHELL and with the `python` on the PATH.
export SHELL := /bin/sh
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONPATH :=
export OMP_NUM_THREADS ?= 1
export DVC_NO_ANALYTICS := 1

# What a person types after NAME=, TEXT=, ... reaches the tools by the environment: no shell ever parses it.
override NAME := $(value NAME)
override TEXT := $(value TEXT)
override CONTEXT := $(value CONTEXT)
override OUT := $(value OUT)
override SEED := $(value SEED)
override REPO := $(value REPO)
override REMOTE := $(value REMOTE)
override ENDPOINT := $(value ENDPOINT)
# RANKS, not RANK: torch reads the latter as the number of a process.
override LR := $(value LR)
override STEPS := $(value STEPS)
override RANKS := $(value RANKS)
override MINUTES := $(value MINUTES)
override FILE := $(value FILE)
override A := $(value A)
override B := $(value B)
export NAME TEXT CONTEXT OUT SEED REPO REMOTE ENDPOINT LR STEPS RANKS MINUTES FILE A B
PUSH = $(PY) -m tools.push $(1) "$$REPO" $(if $(filter 1,$(PUBLIC)),--public) $(if $(filter-out 0,$(DRY)),--dry)

.PHONY: help setup setup-gpu repro test test-slow lint lock doctor preset say tensorboard push-remote pull \
	push-dataset push-adapter push-merged votes compare sweep data-curve bench bench-gpu test-gpu base base-report

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(DONE): requirements.txt requirements-nodeps.txt
	@test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --requirement requirements.txt
	$(PY) -m pip install --quiet --no-deps --requirement requirements-nodeps.txt
	@touch $(DONE)

setup: $(DONE) ## Create .venv with everything pinned

setup-gpu: $(DONE) ## Add Unsloth and CUDA's helpers, on a GPU box
	$(PY) -m pip install --requirement requirements-gpu.txt

repro: $(DONE) ## Run what changed, then show the measurements
	@$(PY) -m tools.check && dvc repro
	@$(PY) -m tools.summary

test: $(DONE) ## The tests, in less than five minutes
	@$(PY) -m pytest --numprocesses 2 --dist loadfile

test-slow: $(DONE) ## The tests that take longer
	@$(PY) -m pytest -m slow --numprocesses 2

lint: $(DONE) ## Format and lint
	@$(PY) -m ruff format --check . && $(PY) -m ruff check .

lock: ## Pin requirements.txt anew from requirements.in
	@rm -rf .work/lock && python3 -m venv .work/lock && .work/lock/bin/pip install --quiet -r requirements.in
	@(head -n 1 requirements.txt; .work/lock/bin/pip freeze | grep -viE '^(nvidia|triton)' | sed 's/+cpu//') > .work/requirements.txt
	@mv .work/requirements.txt requirements.txt && rm -rf .work/lock

doctor: $(DONE) ## What this machine can run, and the remedy where it cannot
	@$(PY) -m tools.doctor

preset: $(DONE) ## NAME=t4|h100|embedded: merge a preset into params.yaml
	@$(PY) -m tools.preset -- "$$NAME"

say: $(DONE) ## TEXT="..." [CONTEXT=row-id] [OUT=say.wav] [SEED=0]: speak with the fine-tuned voice
	@$(PY) -m tools.say --context="$$CONTEXT" --out="$${OUT:-say.wav}" --seed="$${SEED:-0}" -- "$$TEXT"

votes: $(DONE) ## FILE=votes.json, or a folder of them: votes of the blind test into reports/votes.json
	@$(PY) -m tools.votes -- "$$FILE"

compare: $(DONE) ## [A=HEAD] [B=workspace]: two revisions or experiments: settings, figures, both voices on a page
	@$(PY) -m tools.compare --a="$$A" --b="$$B"

tensorboard: $(DONE) ## The training curves, live
	@$(VENV)/bin/tensorboard --logdir .work/train

push-remote: $(DONE) ## REMOTE=folder or s3://bucket/path [ENDPOINT=url]: data and models to a DVC remote
	@$(PY) -m tools.remote --endpoint="$$ENDPOINT" -- push "$$REMOTE"

pull: $(DONE) ## [REMOTE=...] [ENDPOINT=url]: data and models from a DVC remote
	@$(PY) -m tools.remote --endpoint="$$ENDPOINT" -- pull "$$REMOTE"

push-dataset: $(DONE) ## REPO=user/name [DRY=1] [PUBLIC=1]: the rows to the Hugging Face Hub
	@$(call PUSH,dataset)

push-adapter: $(DONE) ## REPO=user/name [DRY=1] [PUBLIC=1]: the LoRA adapter to the Hub
	@$(call PUSH,adapter)

push-merged: $(DONE) ## REPO=user/name [DRY=1] [PUBLIC=1]: the merged model to the Hub
	@$(call PUSH,merged)

sweep: $(DONE) ## [LR="0.001 0.002"] [STEPS="20 60"] [RANKS="8 16"]: train every combination, rank the voices by ear
	@$(PY) -m tools.sweep grid --learning-rate="$$LR" --steps="$$STEPS" --rank="$$RANKS"

data-curve: $(DONE) ## [MINUTES="1 3 10 30 all"] [STEPS=64]: what more speech would bring, scored by ear
	@$(PY) -m tools.sweep minutes --minutes="$$MINUTES" --steps="$$STEPS"

bench: $(DONE) ## How fast it is beside the usual way, on the tiny model: five minutes, reports/bench.json
	@$(PY) -m tools.bench

bench-gpu: $(DONE) ## The same with CSM-1B's shapes on a GPU, through the presets: reports/bench-gpu.json
	@$(PY) -m tools.bench_gpu

test-gpu: $(DONE) ## The tests that need a GPU
	@$(PY) -m pytest -m gpu

base: $(DONE) ## Train the default's base (bases/speaking/README.md): some hours, can be killed and goes on
	@cd bases/speaking && dvc repro

base-report: $(DONE) ## What that base can do: bases/speaking/report.json
	@$(PY) -m bases.speaking.report
