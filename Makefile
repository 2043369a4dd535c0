# berth: `make help` says what there is.

GO       ?= go
PREFIX   ?= /usr/local
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# Stamped into all three programs. Nothing else of the checkout is (-trimpath, -buildvcs=false), so that a
# program whose sources are the same is the same, byte by byte, and isn't compressed again.
LDFLAGS  := -s -w -X berth/engine/api.Version=$(VERSION)
GOBUILD  := $(GO) build -buildvcs=false
PARTS    := bin/parts
PAYLOAD  := cmd/berth/payload/files
# runc needs cgo for its seccomp filter, and must not need the host's libraries.
RUNCTAGS := seccomp netgo osusergo urfave_cli_no_docs
# What stands in front of libseccomp there, so that a filter is compiled once; the functions that it wraps.
FILTERS  := engine/shim/seccompcache/cache.c
WRAPPED  := init reset release merge arch_add arch_remove attr_set syscall_priority rule_add_array rule_add_exact_array load export_pfc export_bpf attr_get syscall_resolve_name_arch
RUNCLINK := -static $(abspath $(PARTS))/filters.o $(WRAPPED:%=-Wl,--wrap=seccomp_%)
# What is process 1 of containers with init: true; static, as it runs in any file system.
INIT     := engine/shim/init/init.c
# What is first in containers and enters them: no library, no start-up code.
ENTER    := $(wildcard engine/shim/enter/program/*.c)
ENTERCC  := gcc -O2 -Wall -Wextra -Werror -static -nostdlib -ffreestanding -fno-stack-protector -fno-asynchronous-unwind-tables -s -Wl,--build-id=none
LINT     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
LINTBIN  := bin/tools/golangci-lint-$(lastword $(subst @, ,$(LINT)))

# One way of compiling for builds, tests and tools: what the one has compiled, the others find in Go's cache.
export GOFLAGS := -trimpath $(GOFLAGS)
export CGO_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help build demo test unit scenarios bench lint clean install

help: ## Say what there is (this)
	@echo "berth $(VERSION): compose files without Docker"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/berth, the one file
	@.ci/packages build
	@mkdir -p $(PARTS)
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o $(PARTS)/berthd ./cmd/berthd
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o $(PARTS)/berth-shim ./cmd/berth-shim
	@$(MAKE) --no-print-directory $(PARTS)/runc $(PARTS)/enter
	gcc -O2 -Wall -Wextra -Werror -static -s -o $(PARTS)/berth-init $(INIT)
	$(GO) run ./cmd/berth/payload/pack -out $(PAYLOAD) $(PARTS)/berthd $(PARTS)/berth-shim $(PARTS)/berth-init $(PARTS)/runc $(PARTS)/enter
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o bin/berth ./cmd/berth
	@ls -l bin/berth | awk '{ printf "built bin/berth, %.0f MB: the only file to copy to another host\n", $$5 / 1e6 }'

# These two are what tests of single packages need, which name a folder of their own.
.PHONY: $(PARTS)/runc $(PARTS)/enter
$(PARTS)/runc:
	gcc -O2 -Wall -Wextra -Werror -c -o $(PARTS)/filters.o $(FILTERS)
	CGO_ENABLED=1 $(GOBUILD) -tags '$(RUNCTAGS)' -ldflags '-s -w -extldflags "$(RUNCLINK)"' -o $@ github.com/opencontainers/runc

$(PARTS)/enter:
	$(ENTERCC) -o $@ $(ENTER)

demo: build ## Build, and bring up samples/hello
	@samples/hello/demo bin/berth

test: ## Run everything: unit tests with the race detector, layer rules, scenarios with real containers
	@.ci/packages build test images
	@[ "$$(id -u)" = 0 ] || { echo "make test needs root: its scenarios run real containers (make unit doesn't)" >&2; exit 1; }
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory build scenarios
	@echo "make test: all passed"

unit: ## Run the unit tests and the layer rules only
	@.ci/packages build
	@# Some tests build runc where they have no network to fetch its modules from.
	@CGO_ENABLED=1 $(GO) list -deps -tags '$(RUNCTAGS)' github.com/opencontainers/runc >/dev/null
	CGO_ENABLED=1 $(GO) test -race -timeout 15m $$($(GO) list ./... | grep -v -e '/testing/scenario$$' -e '/testing/bench$$')

scenarios: ## Run the scenarios only, with bin/berth as it is (RUN=pattern chooses)
	BERTH_BIN=$(CURDIR)/bin/berth $(GO) test -count 1 -timeout 25m $(if $(RUN),-v -run '$(RUN)') ./testing/scenario

bench: build ## Measure, beside docker compose where that is installed (BENCH_PEERS=folders, BENCH=flags)
	$(GO) run ./testing/bench -berth bin/berth $(BENCH)

lint: $(LINTBIN) ## Check form: gofmt, go vet, golangci-lint, the layer rules
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "not gofmt-ed:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(LINTBIN) run ./...
	$(GO) test -count 1 ./testing/layers

$(LINTBIN):
	@mkdir -p $(dir $@)
	GOBIN=$(CURDIR)/$(dir $@) $(GO) install $(LINT)
	@mv $(dir $@)golangci-lint $@

install: ## Copy bin/berth to $(PREFIX)/bin (PREFIX, DESTDIR)
	@[ -x bin/berth ] || { echo "there is no bin/berth yet: run make build first" >&2; exit 1; }
	install -D -m 0755 bin/berth $(DESTDIR)$(PREFIX)/bin/berth

clean: ## Remove what was built; Go's caches and test images stay
	rm -rf bin $(PAYLOAD)/*.zst $(PAYLOAD)/manifest.json
