//! The binary `settle`. All code is in the libraries.

/// A notification costs many small allocations on many threads; mimalloc is fast at those.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    commands::main(&pages::DASHBOARD)
}
