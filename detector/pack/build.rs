//! The rule pack is part of the binary: rebuild when a rule changes.

fn main() {
    println!("cargo:rerun-if-changed=../../rules");
}
