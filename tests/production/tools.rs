//! The programs of the images: the Temporal Server and its schema tool, built from the public Go module in the version
//! that the compose file names, the Temporal CLI, and settle.

use std::path::{Path, PathBuf};
use std::process::Command;
use system_tests::{documents, postgres, process, temporal};

/// The folder with `go.mod` and `go.sum`, which pin every module by its checksum.
const MODULE: &str = "tests/production";

/// The packages of the Temporal Server, and the names of their programs in the images.
const PACKAGES: &[(&str, &str)] = &[
    ("go.temporal.io/server/cmd/server", "temporal-server"),
    ("go.temporal.io/server/cmd/tools/sql", "temporal-sql-tool"),
];

pub struct Tools {
    /// Folder with a program for each name that a command of the compose file uses.
    pub folder: PathBuf,
    /// settle, at a place where every user can run it.
    pub settle: PathBuf,
    /// Folder of the schemas of Temporal's databases, by database and kind.
    pub schema: PathBuf,
    /// Folder of PostgreSQL's programs; empty if they are on `PATH`.
    pub postgres: PathBuf,
}

impl Tools {
    /// Finds the programs, and builds those of the Temporal Server in this version unless they exist.
    ///
    /// # Errors
    /// When a program is missing; the error says what to install.
    pub fn find(version: &str, folder: &Path) -> anyhow::Result<Self> {
        let home = api::tools::home(&std::env::temp_dir());
        let built = home.join(format!("temporal-server-{version}"));
        let sources = module(version)?;
        for (package, program) in PACKAGES {
            build(package, &built.join(program))?;
        }
        let folder = folder.join("bin");
        std::fs::create_dir_all(&folder)?;
        for (_, program) in PACKAGES {
            link(&built.join(program), &folder.join(program))?;
        }
        link(temporal::cli(), &folder.join("temporal"))?;
        let settle = folder.join("settle");
        std::fs::copy(process::program(), &settle)?;
        let postgres = postgres::programs(&home)?;
        if postgres.join("pg_isready").is_file() {
            link(&postgres.join("pg_isready"), &folder.join("pg_isready"))?;
        }
        // The server's image contains it; a machine may lack it.
        script(&folder.join("nc"), "exec 3<>\"/dev/tcp/$2/$3\"")?;
        Ok(Self {
            folder,
            settle,
            schema: sources.join("schema"),
            postgres,
        })
    }
}

/// Returns the folder with the Temporal Server's sources, which Go fetches and verifies.
fn module(version: &str) -> anyhow::Result<PathBuf> {
    let output = go(&[
        "mod",
        "download",
        "-json",
        &format!("go.temporal.io/server@v{version}"),
    ])?;
    let found: serde_json::Value = serde_json::from_slice(&output)?;
    let pinned = std::fs::read_to_string(documents::root().join(MODULE).join("go.mod"))?;
    let is_pinned = pinned.lines().any(|line| {
        line.trim()
            .starts_with(&format!("go.temporal.io/server v{version}"))
    });
    anyhow::ensure!(
        is_pinned,
        "{MODULE}/go.mod pins another version than {version}, that of the compose file"
    );
    let folder = found["Dir"].as_str();
    folder
        .map(PathBuf::from)
        .ok_or_else(|| anyhow::anyhow!("Go names no folder for the sources: {found}"))
}

/// Builds a program like its makefile, unless it exists. Takes a quarter of an hour on two cores.
fn build(package: &str, program: &Path) -> anyhow::Result<()> {
    if program.is_file() {
        return Ok(());
    }
    println!("building {}", program.display());
    let partial = program.with_extension("part");
    go(&[
        "build",
        "-tags",
        "disable_grpc_modules",
        "-o",
        &partial.display().to_string(),
        package,
    ])?;
    std::fs::rename(partial, program)?;
    Ok(())
}

fn go(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new("go");
    command
        .args(arguments)
        .current_dir(documents::root().join(MODULE))
        .env("CGO_ENABLED", "0");
    let output = command.output().map_err(|error| {
        anyhow::anyhow!("`go` does not start ({error}): install Go 1.26 or newer, which builds the Temporal Server")
    })?;
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "go {}: {}",
        arguments.join(" "),
        errors.trim()
    );
    Ok(output.stdout)
}

fn link(program: &Path, name: &Path) -> anyhow::Result<()> {
    Ok(std::os::unix::fs::symlink(program, name)?)
}

fn script(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, format!("#!/bin/bash\n{text}\n"))?;
    Ok(std::fs::set_permissions(
        file,
        std::fs::Permissions::from_mode(0o755),
    )?)
}
