//! The folders `tests/released/VERSION` with what each release published and stored: the JSON Schemas of its events and
//! stored columns, samples of its JSON columns, and hashes of these files, its migrations and its histories.
//! `freeze-release` writes them.
//!
//! A release's folder may be rewritten until the changelog has the release's date.

use super::{documents, histories, samples, stored};
use anyhow::{Context, bail};
use jsonschema::Validator;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use storage::{JSON_COLUMNS, JsonColumn};

const MIGRATIONS: &str = "activities/storage/migrations";
const SUMS: &str = "SHA256SUMS";

/// A release that has a folder.
pub struct Release {
    pub version: String,
    folder: PathBuf,
}

/// Returns the folder that contains one folder per release.
fn folder() -> PathBuf {
    documents::root().join("tests/released")
}

/// Returns all releases that have a folder.
pub fn all() -> Vec<Release> {
    let entries = std::fs::read_dir(folder())
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let folders = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let release = |folder: PathBuf| {
        let version = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Release { version, folder }
    };
    folders.map(release).collect()
}

/// Returns the versions of the changelog that have a date.
pub fn published(changelog: &str) -> Vec<&str> {
    let headings = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## [")?.split_once("] - "));
    headings
        .filter(|(_, date)| date.starts_with("20"))
        .map(|(version, _)| version)
        .collect()
}

impl Release {
    /// Returns the latest release before this version or, if there is none, this version's own folder.
    ///
    /// # Panics
    /// When no release has a folder.
    pub fn latest() -> Self {
        let (mut releases, own) = (all(), stored::number(env!("CARGO_PKG_VERSION")));
        releases.sort_by_cached_key(|release| stored::number(&release.version));
        let before = releases
            .iter()
            .rposition(|release| stored::number(&release.version) < own);
        let index = before.unwrap_or_else(|| releases.len().saturating_sub(1));
        releases.into_iter().nth(index).expect("a release")
    }

    /// Returns the content of the file with the hashes, in the format of `sha256sum`.
    ///
    /// # Panics
    /// When the file is missing.
    pub fn sums(&self) -> String {
        let file = self.folder.join(SUMS);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Returns the commit from which the release was built; the folder names it from the first change after the release
    /// on.
    pub fn commit(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.folder.join("COMMIT")).ok()?;
        let is_hash =
            |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(text.trim().to_owned()).filter(|text| is_hash(text))
    }

    /// Returns the schema of each event type.
    ///
    /// # Panics
    /// When a schema cannot be read.
    pub fn schemas(&self) -> BTreeMap<String, Value> {
        schemas(&self.folder.join("schemas"))
    }

    /// Returns the schema of each typed JSON column.
    ///
    /// # Panics
    /// When a schema cannot be read.
    pub fn stored(&self) -> BTreeMap<String, Value> {
        schemas(&self.folder.join("stored"))
    }

    /// Returns samples of a column, one per line; empty if there are none.
    pub fn samples(&self, column: &JsonColumn) -> String {
        std::fs::read_to_string(self.folder.join("samples").join(samples::file_name(column)))
            .unwrap_or_default()
    }
}

/// Returns the files in `sums` that have changed or are gone, each with a hint.
pub fn changed(root: &Path, sums: &str) -> Vec<String> {
    let lines = sums.lines().filter_map(|line| line.split_once("  "));
    let changed = lines.filter(|(sum, path)| {
        !std::fs::read(root.join(path)).is_ok_and(|bytes| hash(&bytes) == *sum)
    });
    let because = |path: &str| match path.starts_with(MIGRATIONS) {
        true => format!("{path}: this migration is released: add a new one"),
        false => format!("{path}: this file is of a release and stays as it is"),
    };
    changed.map(|(_, path)| because(path)).collect()
}

/// Returns validators for events of this type, one for each release that had the type.
pub fn validators(event_type: &str) -> impl Iterator<Item = &'static Validator> {
    static ALL: LazyLock<Vec<BTreeMap<String, Validator>>> = LazyLock::new(|| {
        let options = || jsonschema::options().should_validate_formats(true);
        let validator = |(name, schema): (String, Value)| {
            (name, options().build(&schema).expect("a JSON Schema"))
        };
        all()
            .iter()
            .map(|release| release.schemas().into_iter().map(validator).collect())
            .collect()
    });
    ALL.iter()
        .filter_map(move |of_release| of_release.get(event_type))
}

/// Writes the folder of a release, with samples that tests collected in a folder; if none is given, the existing
/// samples stay. Returns the path.
///
/// # Errors
/// When the changelog has the release's date, a column has no samples, or an unlisted column contains JSON.
pub fn freeze(version: &str, collected: Option<&Path>) -> anyhow::Result<PathBuf> {
    let changelog = documents::changelog();
    let own = folder().join(version);
    if own.exists() && published(&changelog).contains(&version) {
        bail!("{version} is released: {} stays as it is", own.display());
    }
    let [of_schemas, of_stored, of_samples] =
        ["schemas", "stored", "samples"].map(|part| own.join(part));
    if let Some(collected) = collected {
        write_samples(&of_samples, collected)?;
    }
    for folder in [&of_schemas, &of_stored] {
        drop(std::fs::remove_dir_all(folder));
    }
    write(
        &of_schemas,
        domain::schemas::all()
            .into_iter()
            .map(|(event_type, _, schema)| (event_type, schema)),
    )?;
    write(&of_stored, stored::schemas())?;
    let root = documents::root();
    let of_histories = histories::names(&histories::folder())
        .into_iter()
        .filter(|name| name.contains('/'));
    let of_histories = of_histories.map(|name| histories::folder().join(format!("{name}.json")));
    let frozen = files(&root.join(MIGRATIONS))
        .into_iter()
        .chain(of_histories);
    let mut sums = String::new();
    for file in frozen.chain(
        [of_schemas, of_stored, of_samples]
            .iter()
            .flat_map(|folder| files(folder)),
    ) {
        let path = file.strip_prefix(root)?.display();
        sums.push_str(&format!("{}  {path}\n", hash(&std::fs::read(&file)?)));
    }
    std::fs::write(own.join(SUMS), sums)?;
    Ok(own)
}

/// Replaces a folder of samples by those that tests collected in another.
///
/// # Errors
/// When a column has no samples, or an unlisted column contains JSON.
fn write_samples(folder: &Path, collected: &Path) -> anyhow::Result<()> {
    let unlisted = std::fs::read_to_string(collected.join(samples::UNLISTED))?;
    if let Some(place) = unlisted.lines().next() {
        bail!(
            "{place} holds JSON: add it to JSON_COLUMNS, or to those that nothing reads (harness/samples.rs)"
        );
    }
    let mut files = Vec::new();
    for column in &JSON_COLUMNS {
        let name = samples::file_name(column);
        let texts = std::fs::read_to_string(collected.join(&name))
            .with_context(|| format!("samples {name}"))?;
        let chosen = samples::representative(&texts);
        println!("{:>4} samples of {}", chosen.len(), stored::name(column));
        if chosen.is_empty() {
            bail!("{name} is empty: no test left a value in that column");
        }
        files.push((name, chosen.join("\n") + "\n"));
    }
    drop(std::fs::remove_dir_all(folder));
    std::fs::create_dir_all(folder)?;
    for (name, texts) in files {
        std::fs::write(folder.join(name), texts)?;
    }
    Ok(())
}

/// Writes schemas with these names to a folder.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    folder: &Path,
    schemas: impl IntoIterator<Item = (impl Display, Value)>,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, schema) in schemas {
        std::fs::write(folder.join(format!("{name}.json")), format!("{schema:#}\n"))?;
    }
    Ok(())
}

/// Returns the schemas of a folder, by name.
fn schemas(folder: &Path) -> BTreeMap<String, Value> {
    let read = |file: &PathBuf| {
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(file).expect("a schema");
        (name, serde_json::from_str(&text).expect("a schema in JSON"))
    };
    files(folder).iter().map(read).collect()
}

/// Returns the files of a folder, sorted by name; none if the folder is missing.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

fn hash(bytes: &[u8]) -> String {
    storage::hex(digest(&SHA256, bytes).as_ref())
}
