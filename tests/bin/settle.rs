//! `settle`, built as part of the tests so that its fail points are there when they run it.

/// Many small allocations on many threads are what a notification costs; this one is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    api::main()
}
