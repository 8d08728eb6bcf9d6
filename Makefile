# Two commands for a newcomer: `make demo` shows the main job, `make test` checks everything.
# Both install what they need (Debian packages through scripts/tools.sh), except the Rust toolchain.

CARGO ?= cargo

.PHONY: help demo test soak lint deny advisories bench fuzz reference release

help: ## This list.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: ## Build and run the demo: a gateway, three collectors, forty hosts, the account.
	$(CARGO) run --bin gatepost -- demo

test: ## Run every test, with the real components they need.
	scripts/tools.sh test
	$(CARGO) test --workspace

soak: ## Every damage of the state, many kills and power cuts: SOAK_ROUNDS (20) seeds from SOAK_SEED (1) on.
	GATEPOST_STATE_CELLS=all GATEPOST_STATE_ROUNDS=$${SOAK_ROUNDS:-20} GATEPOST_STATE_SEED=$${SOAK_SEED:-1} \
		$(CARGO) test --test faults -- state_table --nocapture
	GATEPOST_CRASH_ROUNDS=$$(( 50 * $${SOAK_ROUNDS:-20} )) GATEPOST_CRASH_SEED=$${SOAK_SEED:-1} \
		$(CARGO) test --test faults -- crash --nocapture
	GATEPOST_CUT_SEEDS=$$(( 200 * $${SOAK_ROUNDS:-20} )) GATEPOST_CUT_FIRST=$${SOAK_SEED:-1} \
		$(CARGO) test --test faults -- power_cuts --nocapture

lint: ## Formatting and clippy, warnings are errors.
	$(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

deny: ## Licences, bans and sources of all dependencies.
	scripts/tools.sh deny
	$(CARGO) deny check licenses bans sources

advisories: ## Known holes of all dependencies, where a copy of the database is at hand (ADVISORY_DB).
	scripts/advisories.sh

bench: ## Micro-benchmarks, the end-to-end load run, tunnels beside Squid and tinyproxy (docs/performance.md).
	scripts/tools.sh bench
	$(CARGO) bench --bench micro
	$(CARGO) bench --bench rules
	$(CARGO) bench --bench spool
	$(CARGO) bench --bench end_to_end
	$(CARGO) bench --bench tunnel

fuzz: ## Every fuzz target for FUZZ_SECONDS (60).
	scripts/tools.sh fuzz
	scripts/fuzz.sh $${FUZZ_SECONDS:-60}

reference: ## Write the generated documents anew.
	UPDATE=1 $(CARGO) test --test tidy reference

release: ## The optimised binary.
	GATEPOST_REVISION=$$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown) $(CARGO) build --release --bin gatepost
