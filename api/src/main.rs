//! The binary `settle`. All of it is in the library.

/// Many small allocations on many threads are what a notification costs; this one is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    api::main()
}
