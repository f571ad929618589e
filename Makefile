# make help says what there is. Everything real is in hack/.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/parley/target

.DEFAULT_GOAL := help
.PHONY: help up down test fuzz image release pictures helm4 rebuild web fmt bench bench-controller bench-gateway bench-worker bench-scaling bench-counts bench-starts profile life chaos soak

help: ## what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1	/p' Makefile

up: ## Parley on this machine: Kubernetes, Kafka, PostgreSQL, the release, two demo users
	@hack/up.sh

down: ## ends it and removes all it made but the cache
	@hack/down.sh

test: ## formatting, lints, unit, integration and end-to-end tests
	@hack/test/run.sh

fuzz: ## ten minutes of fuzzing each: records, cursors, bodies, plans, sealed boxes, settings
	@hack/fuzz.sh

image: ## the container image as a tar, without Docker
	@hack/image/build.sh

release: ## what a release publishes, in dist/: image, charts, CRD, SBOM, notes, checksums
	@hack/release.sh

pictures: ## docs/dashboards/*.svg, from a whole end-to-end run
	@PICTURES=$(CURDIR)/docs/dashboards hack/test/namespace.sh hack/test/e2e.sh

life: ## a release uninstalled, reinstalled, upgraded and rolled back on a cluster of its own
	@hack/test/namespace.sh hack/test/e2e.sh bundle::life

helm4: ## the charts with Helm 4, as make test has them too
	@hack/check/helm4.sh

rebuild: ## the image once more from another clone: the same bytes
	@hack/check/rebuild.sh

web: ## the web client, which the gateway embeds
	@bash -euo pipefail -c '. hack/lib/base.sh && . hack/lib/web.sh && web_dist'

chaos: ## the whole platform under a thousand faults: about 90 minutes; FAULTS and SEED
	@hack/chaos.sh

soak: ## two hours at half load with a fault a minute, and nothing may rise; MINUTES, RATE and SEED
	@hack/chaos.sh soak

bench: ## measures everything and writes the tables of docs/benchmarks.md
	@hack/bench/all.sh

bench-worker: ## measures the worker, and PostgreSQL, Kafka and argon2 alone
	@hack/bench/worker.sh

bench-scaling: ## the worker's path with 1, 2, 4 and 8 partitions and workers
	@hack/bench/scaling.sh

bench-counts: ## allocations and calls of the system for each message and each delivery
	@hack/bench/counts.sh

bench-starts: ## how long each program takes until it is ready
	@hack/bench/starts.sh

profile: ## flame graphs of the worker and the gateway at full load, into docs/benchmarks/
	@hack/bench/profile.sh

bench-controller: ## what the controller costs: 10,000 topics, a real broker, a real API server
	@hack/bench/controller.sh

bench-gateway: ## measures the gateway under load, see docs/benchmarks.md
	@hack/bench/gateway.sh

fmt: ## formats the Rust sources
	@cargo fmt --all
