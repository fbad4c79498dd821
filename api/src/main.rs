//! The binary `settle`. All code is in the library.

/// A notification costs many small allocations on many threads; mimalloc is fast at those.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    api::main(&api::pages::DASHBOARD)
}
