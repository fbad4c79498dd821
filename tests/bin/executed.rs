//! `executed FOLDER [release]` fails unless the logs in a folder show that the tests which `tests/promises.toml` names
//! for the gate `run`, or for the gate `release`, have passed, and that no test failed or was ignored.
//!
//! A log is the output of one test binary; its file is named after the binary, such as `e2e` or `e2e.log`.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::ExitCode;
use system_tests::promises::{self, Executed, Gate};

const PROMISES: &str = include_str!("../promises.toml");

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, gate) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [folder] | [folder, "run"] => (folder, Gate::Run),
        [folder, "release"] => (folder, Gate::Release),
        _ => bail!("usage: executed FOLDER [run|release]"),
    };
    let mut executed = Executed::default();
    for entry in Path::new(folder)
        .read_dir()
        .with_context(|| format!("{folder} cannot be read"))?
    {
        let path = entry?.path();
        if let Some(binary) = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .filter(|_| path.is_file())
        {
            let log = std::fs::read(&path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            executed.read(binary, &String::from_utf8_lossy(&log));
        }
    }
    let findings = executed.findings(&promises::parse(PROMISES)?, gate);
    for finding in &findings {
        eprintln!("{finding}");
    }
    let (passed, failed) = executed.sums();
    println!("{passed} passed, {failed} failed");
    Ok(if findings.is_empty() && failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
