//! The example logs of `demo` are part of the binary: rebuild when one is added or removed.

fn main() {
    println!("cargo:rerun-if-changed=../../tests/examples/logs");
    println!("cargo:rerun-if-changed=../../tests/examples/afternoon");
}
