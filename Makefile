# The index of what can be done here; `make help` prints it. Recipes are one
# line: what is behind them is a Go program or a script in the folder it concerns.

.DEFAULT_GOAL := help
.PHONY: help build cross images install demo shell test lint generate verify test-unit test-controllers test-cluster e2e e2e-controllers thaw-matrix broker-table bench bench-scale chaos cluster-up cluster-down cluster-load cluster-status

# CLUSTER=current makes every target use the current kubeconfig context instead
# of the cluster that cluster-up makes.
CLUSTER ?= own

CLUSTER_TOOL := go run -C test/cluster ./cmd/cluster

help: ## Print this.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## programs

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

build: ## The three programs, into bin/.
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X understudy.dev/understudy/cli/command.Version=$(VERSION)' -o bin/ ./cmd/...
	@ln -sf understudy bin/kubectl-understudy && ln -sf understudy bin/kubectl_complete-understudy

cross: ## The command line for Linux, macOS and Windows, into bin/cross/, and a check that its tests compile there.
	@.ci/cross

images: build ## An archive of each image in bin/images/, made without a container engine.
	@.ci/images product

install: build cluster-up ## Images, chart and operator into the cluster (CLUSTER=current: IMAGES=registry/path that they are pushed to).
	@CLUSTER=$(CLUSTER) IMAGES=$(IMAGES) .ci/install

## trying and testing

demo: install ## See it: a real cluster, a real queue, and a process here that takes the place of three pods.
	@CLUSTER=$(CLUSTER) IMAGES=$(IMAGES) test/e2e/run go run ./demo

shell: build ## A shell for trying things: understudy and kubectl on its PATH, and the cluster's KUBECONFIG.
	@CLUSTER=$(CLUSTER) .ci/shell

e2e: export KEEP_ENDED ?= 10s
e2e: install ## The stories of test/e2e on the cluster; RUN=pattern for some of them, PROBED=5m for a long session of frozen, probed pods.
	@CLUSTER=$(CLUSTER) IMAGES=$(IMAGES) test/e2e/run go test -count=1 -timeout 30m -parallel 4 $(if $(RUN),-v -run '$(RUN)') ./...

e2e-controllers: export KEEP_ENDED ?= 10s
e2e-controllers: export CONTROLLERS = keda rollouts-controller
e2e-controllers: install ## The stories of workloads that the real KEDA and Argo Rollouts run, RUN=pattern for some; builds both, which takes some minutes once.
	@CLUSTER=$(CLUSTER) IMAGES=$(IMAGES) test/e2e/run go test -count=1 -timeout 30m -v -run '$(or $(RUN),TestKEDA|TestRollouts)' ./story

thaw-matrix: install ## Break frozen sessions in every way, RUNS=20 times at random, and write what was seen into docs/thaw.md.
	@CLUSTER=$(CLUSTER) IMAGES=$(IMAGES) THAW_RUNS=$(or $(RUNS),20) THAW_TABLE=$(CURDIR)/docs/thaw.md test/e2e/run go test -count=1 -timeout 60m -v -run 'TestThawMatrix' ./story

broker-table: install ## Freeze consumers of RabbitMQ, NATS and Redis that hold messages, and write what each broker does into docs/brokers.md.
	@CLUSTER=$(CLUSTER) IMAGES=$(IMAGES) BROKER_TABLE=$(CURDIR)/docs/brokers.md test/e2e/run go test -count=1 -timeout 30m -v -run 'TestBrokerTable' ./story

bench: install ## Measure what it costs, beside floors taken in the same run, and print one table; ONLY=changing, freezing or connections.
	@CLUSTER=$(CLUSTER) IMAGES=$(IMAGES) test/bench/run $(ONLY)

chaos: export KEEP_ENDED ?= 10s
chaos: $(if $(filter requests random page off,$(ONLY)),,install) ## Break sessions in every way, write docs/crash-matrix.md; ONLY=requests, random (SESSIONS=300), "cluster PATTERN", writes, cluster-random or page.
	@CLUSTER=$(CLUSTER) IMAGES=$(IMAGES) test/e2e/chaos/run $(firstword $(ONLY)) $(if $(word 2,$(ONLY)),'$(wordlist 2,99,$(ONLY))')

bench-scale: build ## A thousand sessions at once, on a control plane of its own; writes docs/scale.md; SIZE="-sessions 200 -pods 2000".
	$(CLUSTER_TOOL) binaries etcd kube-apiserver kube-controller-manager helm
	go run ./test/scale -write docs/scale.md $(SIZE)

test: lint verify cross test-unit test-cluster e2e ## Everything that a change has to pass; installs what it needs.

LINT := go tool -modfile=$(CURDIR)/.ci/lint/go.mod golangci-lint run --allow-parallel-runners --config $(CURDIR)/.golangci.yml

lint: ## The linters of .golangci.yml, over each module.
	$(LINT) ./...
	cd test/cluster && $(LINT) ./...
	cd test/e2e && $(LINT) ./...
	cd test/bench && $(LINT) ./...

generate: ## Write the generated files: deep copies, CRD, the CLI's reference.
	.ci/generate

verify: ## Fail if a generated file or a go.mod is not up to date.
	.ci/verify

test-unit: ## What needs no cluster: units, wire, kernel namespaces, a real API server, the chart.
	$(CLUSTER_TOOL) binaries etcd kube-apiserver kube-controller-manager helm
	go test -count=1 -timeout 20m ./...
	go test -C test/bench -count=1 ./...
	go test -count=1 -timeout 10m -race ./operator/tunnel/... ./operator/agent/...

test-controllers: ## Workloads that the real controller of Argo Rollouts runs; builds it, which takes some minutes once.
	$(CLUSTER_TOOL) binaries etcd kube-apiserver kube-controller-manager rollouts-controller
	go test -count=1 -timeout 20m -v -run 'TestRollouts$$' ./operator/session

## cluster

cluster-up: ## Bring up a real Kubernetes of two nodes on this machine (as root; nothing to do with CLUSTER=current).
	@if [ '$(CLUSTER)' = current ]; then echo 'CLUSTER=current: using the current context, bringing nothing up' >&2; else $(CLUSTER_TOOL) up; fi

cluster-down: ## End that cluster; only built programs stay, in the cache folder.
	@$(CLUSTER_TOOL) down

cluster-load: ## Import an image archive on both of its nodes: IMAGE=file.tar.
	@$(CLUSTER_TOOL) load $(abspath $(or $(IMAGE),$(error IMAGE=file.tar is missing)))

cluster-status: ## Say what of it runs.
	@$(CLUSTER_TOOL) status

test-cluster: ## Test the cluster itself: one more is brought up, used and taken down (as root).
	UNDERSTUDY_TEST_CLUSTER=1 go test -C test/cluster -count=1 -timeout 20m ./...
