//! The promises of `tests/promises.toml`, and the results of tests as read from a gate's logs.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Modules that contain a story's test for each database.
pub const DATABASES: [&str; 2] = ["on_sqlite", "on_postgres"];

/// A set of checks that must pass before something happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    Run,
    Release,
}

/// A promise and the tests that prove it.
///
/// A test is named by its binary and its path, such as `e2e::storm::no_notification_is_lost_in_a_settling`. The name of
/// a story stands for its tests on both databases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    pub holds: String,
    /// Tests that the gate `run` executes.
    #[serde(default)]
    run: Vec<String>,
    /// Tests that the gate `release` executes.
    #[serde(default)]
    release: Vec<String>,
}

impl Promise {
    /// Returns the tests of this promise that a gate executes.
    pub fn tests(&self, gate: Gate) -> &[String] {
        match gate {
            Gate::Run => &self.run,
            Gate::Release => &self.release,
        }
    }

    pub fn all_tests(&self) -> impl Iterator<Item = &String> {
        self.run.iter().chain(&self.release)
    }
}

/// All promises, by section and id.
pub type Promises = BTreeMap<String, BTreeMap<String, Promise>>;

/// Reads the text of `promises.toml`.
///
/// # Errors
/// When the text is not TOML, or an entry has an unknown form.
pub fn parse(text: &str) -> Result<Promises, toml::de::Error> {
    toml::from_str(text)
}

/// The results read from the logs of tests.
#[derive(Default)]
pub struct Executed {
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    ignored: BTreeSet<String>,
    /// Totals of the lines `test result:`.
    passes: u64,
    failures: u64,
    skips: u64,
}

#[derive(Clone, Copy)]
enum Verdict {
    Passed,
    Failed,
    Ignored,
}

impl Executed {
    /// Reads a log of libtest. The tests belong to `binary`, or to the binary that cargo names in a preceding line.
    pub fn read(&mut self, binary: &str, log: &str) {
        let (mut binary, mut is_running) = (binary.to_owned(), false);
        // The test whose result is still missing, since its output separates it from its name, and the last result
        // seen.
        let mut open: Option<(String, Option<Verdict>)> = None;
        for line in without_colours(log).lines() {
            let (next, sums, begun) = (running(line), sums(line), begun(line));
            if next.is_some() || sums.is_some() || begun.is_some() || line == "failures:" {
                self.close(&binary, open.take());
            }
            if let Some(next) = next {
                self.end(&binary, is_running);
                (binary, is_running) = (next.to_owned(), false);
            } else if let Some([passes, failures, skips]) = sums {
                self.passes += passes;
                self.failures += failures;
                self.skips += skips;
                is_running = false;
            } else if let Some((name, rest)) = begun {
                is_running = true;
                open = Some((name.to_owned(), verdict(rest)));
                if is_verdict(rest) {
                    self.close(&binary, open.take());
                }
            } else if let Some((_, result)) = &mut open {
                *result = verdict(line).or(*result);
            }
        }
        self.close(&binary, open);
        self.end(&binary, is_running);
    }

    /// Records a binary as failed if it began tests and printed no `test result:`.
    fn end(&mut self, binary: &str, is_running: bool) {
        if is_running {
            self.failed.insert(binary.to_owned());
        }
    }

    /// Records a test's result; a test without a result counts as failed.
    fn close(&mut self, binary: &str, test: Option<(String, Option<Verdict>)>) {
        let Some((name, result)) = test else { return };
        let results = match result {
            Some(Verdict::Passed) => &mut self.passed,
            Some(Verdict::Ignored) => &mut self.ignored,
            Some(Verdict::Failed) | None => &mut self.failed,
        };
        results.insert(format!("{binary}::{name}"));
    }

    /// Returns the problems: tests that failed or were ignored, and promises of the gate whose tests did not pass.
    pub fn findings(&self, promises: &Promises, gate: Gate) -> Vec<String> {
        let mut found: Vec<String> = self
            .failed
            .iter()
            .map(|name| format!("{name} failed"))
            .collect();
        found.extend(
            self.ignored
                .iter()
                .map(|name| format!("{name} was ignored: a test that cannot run must fail")),
        );
        if self.skips > self.ignored.len() as u64 {
            found.push(format!(
                "{} tests were ignored: a test that cannot run must fail",
                self.skips
            ));
        }
        for (id, promise) in promises.values().flatten() {
            let missing = promise
                .tests(gate)
                .iter()
                .filter(|name| !self.has_passed(name));
            found
                .extend(missing.map(|name| format!("{name}, which proves {id}, was not executed")));
        }
        found
    }

    /// Returns whether a test passed; a story must have passed on both databases.
    fn has_passed(&self, name: &str) -> bool {
        self.passed.contains(name)
            || DATABASES
                .iter()
                .all(|database| self.passed.contains(&format!("{name}::{database}")))
    }

    /// Returns the totals of passed and failed tests over all logs.
    pub fn sums(&self) -> (u64, u64) {
        (self.passes, self.failures)
    }
}

fn without_colours(log: &str) -> String {
    let mut parts = log.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| {
        plain + part.split_once('m').map_or(part, |(_, rest)| rest)
    })
}

/// Returns the binary named in a line of cargo such as `Running tests/e2e/main.rs
/// (target/debug/deps/e2e-0123456789abcdef)`.
fn running(line: &str) -> Option<&str> {
    let (_, program) = line
        .trim()
        .strip_prefix("Running ")?
        .strip_suffix(')')?
        .rsplit_once('/')?;
    Some(program.rsplit_once('-')?.0)
}

/// Returns the numbers of passed, failed and ignored tests in a line `test result:`.
fn sums(line: &str) -> Option<[u64; 3]> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |what: &str| {
        counts
            .split_once(&format!(" {what};"))?
            .0
            .rsplit(' ')
            .next()?
            .parse()
            .ok()
    };
    Some([count("passed")?, count("failed")?, count("ignored")?])
}

/// Returns the name of a test that begins in this line, possibly after another test's output, and the rest of the line.
fn begun(line: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| {
        name.chars()
            .all(|letter| letter.is_alphanumeric() || "_:".contains(letter))
    };
    let named = |text: &str| {
        text.strip_suffix(" - should panic")
            .map_or(text.len(), str::len)
    };
    if let Some((name, rest)) = line
        .strip_prefix("test ")
        .and_then(|test| test.split_once(" ... "))
    {
        let name = &name[..named(name)];
        return is_name(name).then_some((name, rest));
    }
    let (before, result) = line.rsplit_once(" ... ")?;
    let (_, name) = before[..named(before)].rsplit_once("test ")?;
    (is_name(name) && is_verdict(result)).then_some((name, result))
}

fn is_verdict(text: &str) -> bool {
    ["ok", "FAILED", "ignored"].contains(&text) || text.starts_with("ignored, ")
}

/// Returns the result at the end of a line, possibly after the test's output.
fn verdict(line: &str) -> Option<Verdict> {
    if line.ends_with("ok") {
        Some(Verdict::Passed)
    } else if line.ends_with("FAILED") {
        Some(Verdict::Failed)
    } else {
        (line.ends_with("ignored") || line.starts_with("ignored, ")).then_some(Verdict::Ignored)
    }
}
