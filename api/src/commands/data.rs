//! The data directory of `settle run` and its files, which only their owner can read.

use anyhow::{Context, bail};
use api::clock;
use domain::text::trimmed;
use secrecy::SecretString;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The default directory.
pub const DEFAULT: &str = "settle-data";

/// Returns the path of the file with the admin token.
pub fn token_file(data: &Path) -> PathBuf {
    data.join("admin-token")
}

/// Returns the path of the file with the URL at which `run` serves.
pub fn service_file(data: &Path) -> PathBuf {
    data.join("service-url")
}

/// Returns the path of the log of `run`.
pub fn log_file(data: &Path) -> PathBuf {
    data.join("settle.log")
}

/// Returns the path of the file with the ports of the Temporal dev server.
pub fn temporal_ports_file(data: &Path) -> PathBuf {
    data.join("temporal-ports")
}

/// Returns the path of the private key that signs samples.
pub fn sample_key_file(data: &Path) -> PathBuf {
    data.join("sample-key.pem")
}

/// Returns the path of the certificate of the key that signs samples.
pub fn sample_certificate_file(data: &Path) -> PathBuf {
    data.join("sample-certificate.pem")
}

/// Returns the directory of `run`, created and checked as by [`directory`]. Only its owner may have access. If an empty
/// directory is open to others, its permissions are restricted.
pub fn own_directory(data: &Path) -> anyhow::Result<PathBuf> {
    let data = directory(data)?;
    let mode = std::fs::metadata(&data)
        .with_context(|| data.display().to_string())?
        .permissions()
        .mode()
        & 0o777;
    let is_closed = || std::fs::set_permissions(&data, Permissions::from_mode(0o700)).is_ok();
    if mode & 0o077 != 0 && !(is_empty(&data) && is_closed()) {
        bail!(
            "the data directory {0} contains keys, but others can enter it (mode {mode:o}): run `chmod 700 {0}`",
            data.display()
        );
    }
    Ok(data)
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Creates the directory so that only its owner can read it, checks that it is writable, and returns its full path.
pub fn directory(data: &Path) -> anyhow::Result<PathBuf> {
    let next_step = || {
        format!(
            "cannot use the data directory {}: choose another one with --data DIR",
            data.display()
        )
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(next_step)?;
    let data = data.canonicalize().with_context(next_step)?;
    process_user(&data).with_context(next_step)?;
    Ok(data)
}

/// Returns the owner of a directory, if this process runs as root and the owner is another user, who could not read the
/// files that this process creates there. `None` otherwise.
///
/// # Errors
/// Fails if the directory cannot be read or written.
pub fn foreign_owner(directory: &Path) -> anyhow::Result<Option<u32>> {
    let read =
        std::fs::metadata(directory).and_then(|found| Ok((found.uid(), process_user(directory)?)));
    let (owner, user) = read.with_context(|| directory.display().to_string())?;
    Ok(Some(owner).filter(|_| user == 0 && owner != 0))
}

/// Returns the user of this process, as the owner of a file that it creates in the directory and then removes.
fn process_user(directory: &Path) -> std::io::Result<u32> {
    let probe = directory.join(format!(".writable-{}", clock::random_uuid()));
    let file = create(&probe)?;
    std::fs::remove_file(&probe)?;
    Ok(file.metadata()?.uid())
}

/// Creates a file that only its owner can read. Fails if a file or a link with this name exists: for a process of root,
/// the owner of the directory could otherwise redirect the write to any file by a link.
fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Returns the admin token of this directory.
pub fn admin_token(data: &Path) -> anyhow::Result<SecretString> {
    secret::<24>(&token_file(data))
}

/// Returns the key that encrypts secrets at rest, in hex as `SETTLE_KEY` accepts it.
pub fn key(data: &Path) -> anyhow::Result<SecretString> {
    secret::<32>(&data.join("key"))
}

/// Returns the secret for the demo's simulated store.
pub fn simulated_secret(data: &Path) -> anyhow::Result<SecretString> {
    secret::<24>(&data.join("simulated-store-secret"))
}

/// Reads a secret from its file. If the file does not exist, creates it with `N` random bytes in hex.
fn secret<const N: usize>(path: &Path) -> anyhow::Result<SecretString> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => {
            bail!(
                "{} is empty: delete it, and settle creates it again",
                path.display()
            )
        }
        Ok(text) => Ok(trimmed(&text).into()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = storage::hex(&clock::random_bytes::<N>());
            write(path, format!("{text}\n").as_bytes())?;
            Ok(text.into())
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a file atomically, and syncs it and its directory to disk: a lost key cannot be recovered.
pub fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let partial = path.with_extension("partial");
    // The file left by an earlier, interrupted write may be readable by others.
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(failed);
        }
        _ => {}
    }
    let mut file = create(&partial).with_context(failed)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .with_context(failed)?;
    std::fs::rename(&partial, path).with_context(failed)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::{create, directory, write};
    use std::io::ErrorKind;
    use std::os::unix::fs::symlink;

    #[test]
    fn planted_links_lead_nowhere() {
        let folder =
            std::env::temp_dir().join(format!("settle-links-{}", api::clock::random_uuid()));
        let (data, other) = (folder.join("data"), folder.join("other"));
        std::fs::create_dir_all(&data).expect("a directory");
        std::fs::write(&other, "text").expect("a file");
        let links = ["key.partial", ".writable"].map(|name| data.join(name));
        for link in &links {
            symlink(&other, link).expect("a link");
            assert_eq!(
                create(link).map_err(|error| error.kind()).err(),
                Some(ErrorKind::AlreadyExists)
            );
        }
        directory(&data).expect("a directory that can be written");
        write(&data.join("key"), b"secret").expect("a file");
        let found = |name| std::fs::read_to_string(folder.join(name)).expect("a file");
        let texts = ["other", "data/key", "data/.writable"].map(found);
        let names = std::fs::read_dir(&data).expect("a directory").count();
        std::fs::remove_dir_all(&folder).expect("it is removed");
        assert_eq!(texts, ["text", "secret", "text"]);
        assert_eq!(names, 2, "the probe and the partial file are gone");
    }
}
