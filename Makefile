# The one door: people and CI come through here.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/rescan/target
RESCAN := $(CARGO_TARGET_DIR)/release/rescan
HOURS  := --from 2026-11-20T00 --to 2026-11-20T03
PINNED := arrow|parquet|object_store|datafusion

.DELETE_ON_ERROR:
.PHONY: help build demo test lint check bench kafka clean

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

build: need-cargo need-cc ## the binary, in $(CARGO_TARGET_DIR)/release/rescan
	@cargo build --release --locked --package rescan

need-%:
	@command -v $* >/dev/null || { echo "make: this machine has no $*: apt-get install build-essential pkg-config libssl-dev zlib1g-dev, and Rust from rustup.rs" >&2; exit 69; }

demo: build ## the main job as batch and as stream, and the proof that both agree
	@RESCAN=$(RESCAN) sh cli/demo.sh

test: need-cargo need-cc ## every test, against real services that it starts itself
	@cargo test --release --locked --workspace

# clippy as the compiler of the workspace's own crates: DataFusion is not compiled a second time for it.
lint: need-cargo ## format, clippy, one version of each pinned crate
	@cargo fmt --all --check
	@CLIPPY_ARGS=-Dwarnings__CLIPPY_HACKERY__ RUSTC_WORKSPACE_WRAPPER=clippy-driver \
	  cargo build --release --locked --workspace --tests
	@cargo tree --locked --workspace --edges normal,build --prefix none --format '{p}' | sed 's/ (.*//' | sort -u | \
	  awk '$$1 ~ /^($(PINNED))$$/ { print; n[$$1]++ } END { for (crate in n) if (n[crate] > 1) exit 1 }' || \
	  { echo "make: two versions of a pinned crate" >&2; exit 1; }

check: lint test ## all that CI runs

bench: build ## side by side with DuckDB and Polars
	@RESCAN=$(RESCAN) sh cli/benches/bench.sh

kafka: ## a real Kafka to play with, on 127.0.0.1:9092; its data in $$HOME/.cache/rescan/kafka-data
	@crates/connector/kafka/kafka.sh start $(HOME)/.cache/rescan/kafka-data 9092

clean: ## what the demo wrote
	@rm -rf demo
