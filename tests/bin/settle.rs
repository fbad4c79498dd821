//! `settle`, built as part of the tests, so that its fail points are compiled in.

/// A notification makes many small allocations on many threads; mimalloc is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    api::main()
}
