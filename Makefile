# Two commands for a newcomer: `make demo` shows the main job, `make test` checks everything.
# Both install what they need (Debian packages through scripts/tools.sh), except the Rust toolchain.

CARGO ?= cargo

# What makes the next build short is a third of the target folder, and few build twice by these commands. Who works on the code
# calls cargo, or sets this to 1.
export CARGO_INCREMENTAL ?= 0

# Tickets of Kerberos are built in where MIT's headers are (libkrb5-dev) and what reads them (libclang-dev); FEATURES= leaves them out.
FEATURES ?= $(shell pkg-config --exists krb5-gssapi 2>/dev/null && ls /usr/lib/llvm*/lib/libclang*.so* >/dev/null 2>&1 && echo kerberos)
# Where the log of each gateway of `make demo-cluster` is: segments, or jetstream.
SPOOL ?= segments
WITH = $(if $(FEATURES),--features $(FEATURES))

.PHONY: help demo demo-cluster test tests soak lint deny advisories bench fuzz reference release package

help: ## This list.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: ## Build and run the demo: a gateway, three collectors, forty hosts, the account.
	$(CARGO) run $(WITH) --bin gatepost -- demo

demo-cluster: ## Three gateways behind HAProxy over Redis (SPOOL=jetstream: over NATS); each is killed under load, then the account.
	scripts/tools.sh cluster
	$(CARGO) run $(WITH) --bin gatepost -- demo --cluster --seconds 45 --spool $(SPOOL)

test: ## Run every test, with the real components they need.
	scripts/tools.sh test
	$(MAKE) --no-print-directory tests

tests: # What `make test` runs, once the headers that it installs are there.
	scripts/test.sh $(WITH)

soak: ## Every damage of the state, many kills and power cuts, the whole model of several gateways: SOAK_ROUNDS (20) seeds from SOAK_SEED (1) on.
	GATEPOST_STATE_CELLS=all GATEPOST_STATE_ROUNDS=$${SOAK_ROUNDS:-20} GATEPOST_STATE_SEED=$${SOAK_SEED:-1} \
		$(CARGO) test $(WITH) --test faults -- state_table --nocapture
	GATEPOST_CRASH_ROUNDS=$$(( 50 * $${SOAK_ROUNDS:-20} )) GATEPOST_CRASH_SEED=$${SOAK_SEED:-1} \
		$(CARGO) test $(WITH) --test faults -- crash --nocapture
	GATEPOST_WEF_HOSTS=$${SOAK_WEF_HOSTS:-1000} GATEPOST_WEF_ROUNDS=$$(( 2 * $${SOAK_ROUNDS:-20} )) \
		GATEPOST_WEF_SEED=$${SOAK_SEED:-1} $(CARGO) test $(WITH) --test e2e wef::fleet -- --nocapture
	GATEPOST_CUT_SEEDS=$$(( 200 * $${SOAK_ROUNDS:-20} )) GATEPOST_CUT_FIRST=$${SOAK_SEED:-1} \
		$(CARGO) test $(WITH) --test faults -- power_cuts --nocapture
	GATEPOST_MODEL=all $(CARGO) test -p gatepost-spool --lib -- model_tests --nocapture
	GATEPOST_CLUSTER_ROUNDS=$$(( 3 * $${SOAK_ROUNDS:-20} )) GATEPOST_CLUSTER_SEED=$${SOAK_SEED:-1} \
		$(CARGO) test $(WITH) --test e2e -- cluster::kills --nocapture
	GATEPOST_AWAY_SECONDS=$$(( 15 * $${SOAK_ROUNDS:-20} )) \
		$(CARGO) test $(WITH) --test e2e -- cluster::long_away --nocapture
	GATEPOST_REPLICATION_ROUNDS=$$(( 18 * $${SOAK_ROUNDS:-20} / 4 )) GATEPOST_REPLICATION_SEED=$${SOAK_SEED:-1} \
		$(CARGO) test $(WITH) --test e2e -- replication::kills --nocapture
	GATEPOST_ROLLING_ROUNDS=$${SOAK_ROUNDS:-20} GATEPOST_ROLLING_AGENTS=40 GATEPOST_ROLLING_BATCH=100 GATEPOST_ROLLING_PAUSE_MS=5 \
		$(CARGO) test $(WITH) --test e2e -- rolling --nocapture

lint: ## Formatting, clippy, documentation and spelling, warnings are errors.
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets $(WITH) -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --workspace $(WITH) --lib --document-private-items
	$$(scripts/tools.sh lint | tail -1)

deny: ## Licences, bans and sources of all dependencies.
	scripts/tools.sh deny
	$(CARGO) deny check licenses bans sources

advisories: ## Known holes of all dependencies, where a copy of the database is at hand (ADVISORY_DB).
	scripts/advisories.sh

bench: ## Micro-benchmarks, the end-to-end load run, tunnels beside Squid and tinyproxy (docs/performance.md).
	scripts/tools.sh bench
	$(CARGO) bench $(WITH) --bench micro
	$(CARGO) bench $(WITH) --bench rules
	$(CARGO) bench $(WITH) --bench spool
	$(CARGO) bench $(WITH) --bench end_to_end
	$(CARGO) bench $(WITH) --bench old_agents
	$(CARGO) bench $(WITH) --bench tunnel

fuzz: ## Every fuzz target for FUZZ_SECONDS (60).
	scripts/tools.sh fuzz
	scripts/fuzz.sh $${FUZZ_SECONDS:-60}

reference: ## Write the generated documents anew.
	UPDATE=1 $(CARGO) test $(WITH) --test tidy reference

release: ## The optimised binary.
	GATEPOST_REVISION=$$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown) $(CARGO) build --release $(WITH) --bin gatepost

package: release ## A Debian package and an archive of the optimised binary, in target/package.
	scripts/package.sh target/release/gatepost target/package
