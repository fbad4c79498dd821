//! The folders of the histories that `tests/replay` replays: one for the current code and one for each released
//! version.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// Returns the folder of the current code's histories, which contains a folder for each release.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("replay/histories")
}

/// Returns the folder into which histories are written: that of the current code, or a new one for a release such as
/// `v0.1`. A release's histories are never rewritten, since its open runs have such histories.
///
/// # Errors
/// When the release already has histories, or is not a version.
pub fn to_write(root: &Path, release: Option<&str>) -> anyhow::Result<PathBuf> {
    let Some(release) = release else {
        std::fs::create_dir_all(root)?;
        return Ok(root.to_owned());
    };
    let is_version = release.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && number.split('.').all(|part| part.parse::<u32>().is_ok())
    });
    if !is_version {
        bail!("expected a version such as v0.1, got {release}");
    }
    std::fs::create_dir_all(root)?;
    let folder = root.join(release);
    std::fs::create_dir(&folder).with_context(|| {
        format!(
            "the histories of {release} stay as they are: {} exists",
            folder.display()
        )
    })?;
    Ok(folder)
}

/// Returns the names of all histories, without `.json`; those of a release begin with its folder, such as `v0.1/`.
///
/// # Panics
/// When a folder cannot be read.
pub fn names(root: &Path) -> Vec<String> {
    let mut names = files(root);
    for release in entries(root)
        .into_iter()
        .filter(|entry| root.join(entry).is_dir())
    {
        names.extend(
            files(&root.join(&release))
                .into_iter()
                .map(|name| format!("{release}/{name}")),
        );
    }
    names.sort();
    names
}

fn entries(folder: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

fn files(folder: &Path) -> Vec<String> {
    entries(folder)
        .into_iter()
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect()
}
