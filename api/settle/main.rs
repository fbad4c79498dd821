//! The `settle` binary. All other code is in the libraries.

/// A notification causes many small allocations on many threads, which mimalloc handles fast.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    commands::main(&pages::DASHBOARD)
}
