# `make` alone says what there is.
.DEFAULT_GOAL := help
.PHONY: help tools lab-up lab-down

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tools: ## Build and install the parts of the lab (minutes the first time, nothing after)
	@e2e/tools/install.sh

lab-up: tools ## Start a lab: a real control plane, Vault, PostgreSQL and the operator, on loopback
	@cargo run --quiet --package e2e --bin lab -- up

lab-down: ## Stop it and remove it
	@cargo run --quiet --package e2e --bin lab -- down
