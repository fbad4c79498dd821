//! Runs libFuzzer on the target that the environment variable `FUZZ_TARGET` names. See README.md.

#![no_main]

mod targets;

use std::sync::LazyLock;

static CHECK: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    #[expect(
        clippy::disallowed_methods,
        reason = "libFuzzer reads the arguments of this program itself"
    )]
    let named = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = targets::TARGETS.iter().find(|target| target.name == named);
    let names = targets::TARGETS.map(|target| target.name).join(", ");
    found
        .unwrap_or_else(|| panic!("FUZZ_TARGET is `{named}`, expected one of {names}"))
        .check
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| CHECK(data));
