//! The rule pack is part of the binary: rebuild when a rule changes.

fn main() {
    #[expect(clippy::print_stdout, reason = "this is how a build script talks to cargo")]
    {
        println!("cargo:rerun-if-changed=../../rules");
    }
}
