//! What batches cost.
fn main() {
    divan::main();
}
