# Every verb of the project. `make` alone lists them; what they do is in scripts/.

.DEFAULT_GOAL := help
.PHONY: help demo demo-ipvs cluster test unit uml uml-kernel check crds charts bench bench-ipvs bench-operator build fmt clean

# What makes the root and the kernel of a guest.
GUEST := debootstrap bc bison flex xz

help: ## list the verbs
	@echo "vipkeeper: make VERB"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: ## two nodes share two VIPs, one dies, the other answers; needs root
	@scripts/needs demo root cc ip
	@cargo build --locked -p vipkeeper-agent
	@VIPKEEPER_AGENT="$$(scripts/agent-path debug)" cargo run --quiet --locked -p vipkeeper-e2e --bin demo

demo-ipvs: ## two directors, two web servers, in a guest with IPVS: requests spread, one of each dies; needs root
	@scripts/needs demo-ipvs root cc ip $(GUEST)
	@cargo build --quiet --locked -p vipkeeper-agent
	@cargo build --quiet --locked -p vipkeeper-e2e --bins
	@VIPKEEPER_UML="$$(scripts/uml-kernel)" VIPKEEPER_UML_ROOT="$$(scripts/uml-root)" VIPKEEPER_AGENT="$$(scripts/agent-path debug)" cargo run --quiet --locked -p vipkeeper-e2e --bin demo-ipvs

cluster: ## a Kubernetes control plane and three nodes to play with by kubectl; needs root and Go; ARGS=--help
	@scripts/needs cluster root cc ip openssl
	@scripts/cluster $(ARGS)

test: ## every test this machine can run: pure, fake, netns, uml, cluster; needs root
	@scripts/needs test root cc ip keepalived openssl $(GUEST)
	@scripts/test pure netns uml cluster

uml: ## tests in guests whose kernel has IPVS; needs root; ARGS=NAME runs a part, ARGS=shell gives a guest to look around in
	@scripts/needs uml root cc $(GUEST)
	@scripts/uml $(ARGS)

uml-kernel: ## build the guests' kernel from Debian's newest source, unless there is one; 15 minutes
	@scripts/needs uml-kernel cc $(GUEST)
	@VIPKEEPER_UML= scripts/uml-kernel --newest

unit: ## the tests that need neither root nor network namespaces
	@scripts/needs unit cc
	@scripts/test pure

check: ## format, lints, purity, dependency direction, file length, docs, licences
	@scripts/needs check cc jq shellcheck
	@scripts/check

crds: ## write the chart of the CRDs and docs/reference.md from the types in crds/src
	@scripts/needs crds cc
	@scripts/crds

charts: ## write deploy/install.yaml and the renders that tests compare from the charts; needs Go
	@scripts/needs charts cc
	@scripts/charts

bench: ## failover beside keepalived, as tables; needs root and a quiet machine; ARGS=--help lists options
	@scripts/needs bench root cc ip keepalived
	@cargo build --release --locked -p vipkeeper-agent -p vipkeeper-operator -p vipkeeper-e2e
	@VIPKEEPER_AGENT="$$(scripts/agent-path release)" VIPKEEPER_KUBERNETES="$$(scripts/kubernetes || true)" cargo run --quiet --release --locked -p vipkeeper-e2e --bin bench -- $(ARGS)
	@$(MAKE) --no-print-directory bench-operator ARGS=
	@$(MAKE) --no-print-directory bench-ipvs ARGS=

bench-ipvs: ## a thousand virtual servers beside keepalived, in a guest, and ten thousand probes; needs root; parts of bench
	@scripts/needs bench-ipvs root cc ip $(GUEST)
	@cargo build --quiet --profile bench --locked -p vipkeeper-agent
	@cargo build --quiet --locked -p vipkeeper-e2e --bins
	@VIPKEEPER_UML="$$(scripts/uml-kernel)" VIPKEEPER_UML_ROOT="$$(scripts/uml-root)" VIPKEEPER_AGENT="$$(scripts/agent-path release)" cargo run --quiet --locked -p vipkeeper-e2e --bin bench-ipvs -- $(ARGS)
	@cargo bench --quiet --locked -p vipkeeper-agent --bench probes

bench-operator: ## what compiling 1,000 routers costs, a part of bench; ARGS="--write FILE" writes the page
	@scripts/needs bench-operator cc
	@cargo bench --quiet --locked -p vipkeeper-operator --bench compile -- $(ARGS)

build: ## the agent and the kubectl plugin, optimised
	@scripts/needs build cc
	@cargo build --release --locked -p vipkeeper-agent -p vipkeeper-cli
	@scripts/agent-path release
	@echo "$$(dirname "$$(scripts/agent-path release)")/kubectl-vipkeeper"

fmt: ## format the code
	@cargo fmt --all

clean: ## remove everything that was built
	@cargo clean
