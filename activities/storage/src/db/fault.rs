//! Named points where a test kills the process or plants a fault. Nothing is left of them in a release.

/// Kills the process here when a test requires it.
#[cfg(feature = "fail-points")]
pub fn kill_at(name: &str) {
    fail::fail_point!(name, |_| std::process::abort());
}

/// Kills nothing.
#[cfg(not(feature = "fail-points"))]
pub const fn kill_at(_: &str) {}

/// Whether a test planted the fault of this name.
#[cfg(feature = "fail-points")]
pub fn is_planted(name: &str) -> bool {
    fail::fail_point!(name, |_| true);
    false
}

/// Never, without fail points.
#[cfg(not(feature = "fail-points"))]
pub const fn is_planted(_: &str) -> bool {
    false
}
