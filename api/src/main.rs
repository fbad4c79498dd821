//! The binary `settle`. All of it is in the library.

fn main() -> std::process::ExitCode {
    api::main()
}
