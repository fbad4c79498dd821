//! `settle`, built as part of the tests so that its fail points are there when they run it.

fn main() -> std::process::ExitCode {
    api::main()
}
