//! `settle`, built as part of the tests, so that its fail points are compiled in. With [`ADDED`] it includes the
//! additions of `tests/proof`.

#[path = "../proof/additions.rs"]
mod additions;

/// The environment variable that adds the store and destination of `tests/proof`.
const ADDED: &str = "SETTLE_TEST_ADDITIONS";

/// A notification causes many small allocations on many threads, for which mimalloc is designed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "what a program adds is decided before it reads its settings"
    )]
    let is_added = std::env::var_os(ADDED).is_some();
    if is_added {
        commands::main_with(additions::ALL, &pages::DASHBOARD)
    } else {
        commands::main(&pages::DASHBOARD)
    }
}
