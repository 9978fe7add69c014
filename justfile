# Everything is built with one command, so that `just figures`, `just test` and CI compile the dependencies once.

set positional-arguments

isorate := env("CARGO_TARGET_DIR", "target") / "release/isorate"

# List the recipes
[private]
default:
    @just --justfile "{{justfile()}}" --list --unsorted

# Build the whole workspace
[private]
build:
    cargo build --release --workspace --locked

# Run what is missing, then draw every figure and table into figures/
[group('figures')]
figures *ARGS: build
    @"{{isorate}}" figures "$@"

# Draw every figure and table from the frozen results in figures/results; run nothing
[group('figures')]
replot *ARGS: build
    @"{{isorate}}" figures --frozen "$@"

# Run what is missing in figures/results, then draw: how frozen results are made
[group('figures')]
freeze *ARGS: build
    @"{{isorate}}" figures --store figures/results "$@"

# Run one experiment into the results store: just run paper/experiments/f1.toml
[group('figures')]
run FILE *ARGS: build
    @"{{isorate}}" run "$@"

# Choose the step sizes of an experiment on validation data, and write them beside it
[group('figures')]
tune *ARGS: build
    @"{{isorate}}" tune "$@"

# Check simulation against closed form, and the bounds of the theorems
[group('theory')]
verify-theory *ARGS: build
    @"{{isorate}}" verify-theory "$@"

# Time a step of the simulation and a polar factor (see crates/theory/benches/numpy_step.py for NumPy beside them)
[group('bench')]
bench-theory *ARGS:
    cargo bench --workspace --bench step -- "$@"

# Time operations and whole training steps, as fractions of the matrix product's rate
[group('bench')]
bench *ARGS: build
    @"{{isorate}}" bench "$@"

# The same works here and in PyTorch, in turn, with ratios (PYTHON has torch; see crates/bench/pytorch.py --help)
[group('bench')]
bench-pytorch PYTHON *ARGS: build
    @"$1" crates/bench/pytorch.py --isorate "{{isorate}}" "${@:2}"

# Print the spectral components over time for a Gaussian mixture
[group('theory')]
trajectory *ARGS: build
    @"{{isorate}}" trajectory "$@"

# Run reference trajectories (safetensors) through our optimizers and print the largest differences
[group('theory')]
replay *ARGS: build
    @"{{isorate}}" replay "$@"

# Fetch what the paper scale needs from the Hugging Face hub, or only what is NAMEd; `just fetch --plan` only says how much
[group('data')]
fetch *ARGS: build
    @"{{isorate}}" fetch "$@"

# Delete the finished runs in .isorate/results, so that they are run again; frozen results stay
[confirm('Delete .isorate/results and every finished run in it? (y/N)')]
[group('data')]
clean-store:
    rm -rf .isorate/results

# Run every test: examples in the documentation, then unit, property, snapshot and end-to-end tests
[group('check')]
test *ARGS: build
    cargo test --release --workspace --locked --doc --quiet
    @if cargo nextest --version >/dev/null 2>&1; then set -x; cargo nextest run --release --workspace --locked --lib --bins --tests "$@"; else set -x; cargo test --release --workspace --locked --lib --bins --tests "$@"; fi

# Format the code; `just fmt --check` only looks
[group('check')]
fmt *ARGS:
    cargo fmt --all "$@"

# Lint every target; a warning is an error
[group('check')]
lint:
    cargo clippy --release --workspace --locked --all-targets -- -D warnings

# Build the documentation into target/doc; a warning is an error
[group('check')]
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --locked --no-deps

# Type-check isorate-optim, or another PACKAGE, with the features cuda and cudnn; needs no CUDA
[group('check')]
check-cuda PACKAGE='isorate-optim':
    .ci/check-cuda "{{PACKAGE}}"

# Type-check isorate-optim, or another PACKAGE, with the features metal and accelerate; needs no Mac
[group('check')]
check-metal PACKAGE='isorate-optim':
    .ci/check-metal "{{PACKAGE}}"

# Run the tests of isorate-kernels, which has all unsafe code, under AddressSanitizer (Linux; no other toolchain is needed)
[group('check')]
sanitize *ARGS:
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS=detect_leaks=0 cargo test --release --locked --package isorate-kernels --lib --tests --target "$(rustc -vV | sed -n 's/^host: //p')" --target-dir target/sanitize "$@"

# Check the dependencies' licences, duplicates and sources (needs cargo-deny)
[group('check')]
licences:
    cargo deny --locked check licenses bans sources

# Check the dependencies for known vulnerabilities (needs cargo-deny and the internet)
[group('check')]
advisories:
    cargo deny --locked check advisories

# Run everything that CI runs
[group('check')]
ci:
    .ci/run

# Show each claim of the paper with its state
[group('paper')]
claims *ARGS: build
    @"{{isorate}}" claims "$@"

# Show how long the stored runs of each experiment took
[group('paper')]
costs *ARGS: build
    @"{{isorate}}" costs "$@"

# Set paper/main.pdf from the frozen results and what is drawn in figures/ (needs typst, and says how to get it)
[group('paper')]
paper: build
    @paper/build "{{isorate}}"

# Write the claims table, as the frozen results have it, into README.md; `just readme --check` only looks
[group('paper')]
readme *ARGS: build
    @"{{isorate}}" claims --frozen --write README.md "$@"
