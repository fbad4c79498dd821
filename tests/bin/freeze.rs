//! `freeze-release VERSION [FOLDER]` writes `tests/released/VERSION`: the JSON Schemas of all events and stored
//! columns, samples of each JSON column that tests collected in a folder, and the hashes of all files that must not
//! change. Without a folder, the existing samples stay.
//!
//! ```sh
//! SETTLE_TEST_SAMPLES=target/samples cargo test -p system-tests --test e2e
//! cargo build -p system-tests && target/debug/freeze-release 0.1.0 target/samples
//! ```

use anyhow::{Result, bail};
use std::path::Path;
use system_tests::released;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (version, collected) = match arguments.as_slice() {
        [version] => (version, None),
        [version, collected] => (version, Some(Path::new(collected))),
        _ => bail!("usage: freeze-release VERSION [FOLDER]"),
    };
    if version.split('.').count() != 3
        || !version.split('.').all(|part| part.parse::<u32>().is_ok())
    {
        bail!("expected a version such as 0.1.0, got {version}");
    }
    println!("{}", released::freeze(version, collected)?.display());
    Ok(())
}
