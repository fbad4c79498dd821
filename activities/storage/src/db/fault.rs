//! Fail points: named places where a test aborts the process or injects a fault. A build without the feature
//! `fail-points`, such as a release, contains none of them.

/// Aborts the process if a test activated the fail point of this name.
#[cfg(feature = "fail-points")]
pub fn kill_at(name: &str) {
    fail::fail_point!(name, |_| std::process::abort());
}

/// Does nothing without the feature `fail-points`.
#[cfg(not(feature = "fail-points"))]
pub const fn kill_at(_: &str) {}

/// Runs the action that a test planned for the fail point of this name and this subject.
#[cfg(feature = "fail-points")]
pub fn run_at(name: &str, of: impl std::fmt::Display) {
    fail::fail_point!(&format!("{name}/{of}"));
}

/// Does nothing without the feature `fail-points`.
#[cfg(not(feature = "fail-points"))]
pub fn run_at(_: &str, _: impl std::fmt::Display) {}

/// Returns whether a test activated the fail point of this name.
#[cfg(feature = "fail-points")]
pub fn is_planted(name: &str) -> bool {
    fail::fail_point!(name, |_| true);
    false
}

/// Returns false without the feature `fail-points`.
#[cfg(not(feature = "fail-points"))]
pub const fn is_planted(_: &str) -> bool {
    false
}

/// Returns whether a test activated the fail point of this name for this subject.
#[cfg(feature = "fail-points")]
pub fn is_planted_for(name: &str, of: impl std::fmt::Display) -> bool {
    is_planted(&format!("{name}/{of}"))
}

/// Returns false without the feature `fail-points`.
#[cfg(not(feature = "fail-points"))]
pub fn is_planted_for(_: &str, _: impl std::fmt::Display) -> bool {
    false
}

/// Returns the text that a test passed with the fail point of this name (`NAME=return(TEXT)`).
#[cfg(feature = "fail-points")]
pub fn text_at(name: &str) -> Option<String> {
    fail::fail_point!(name, |text| text);
    None
}
