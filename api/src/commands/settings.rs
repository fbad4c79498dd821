//! The settings of the commands that open the database, how they open it, and parsers of flags.

use super::table;
use anyhow::{Context, bail};
use api::clock;
use api::config::{Config, Database, Flags, Variables, environment, load};
use api::shell::quoted;
use clap::Args;
use protocols::destinations::shown_settings;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use storage::{Error, Key, Planned, Progress, Store};
use url::Url;

// The locations of settings and data, accepted before and after the name of a command. Not a doc comment: it would
// replace the command's description in the help.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct PathFlags {
    /// A TOML file with settings. Environment variables override it, flags override both.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The data directory of `settle run` [default: settle-data].
    #[arg(long, value_name = "DIR", global = true)]
    data: Option<PathBuf>,
}

impl PathFlags {
    /// Returns the flags for [`load`].
    pub fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            data: self.data.clone(),
            ..Flags::default()
        }
    }

    /// Returns the flags as they were typed, each with a space before it.
    pub fn as_typed(&self) -> String {
        let flags = [("--config", &self.config), ("--data", &self.data)];
        let shown = |path: &PathBuf| quoted(&path.display().to_string());
        let typed = flags
            .into_iter()
            .filter_map(|(name, path)| Some(format!(" {name} {}", shown(path.as_ref()?))));
        typed.collect()
    }

    /// Returns the settings from the named settings file; `None` if no file is named.
    pub fn load(&self, variables: &Variables) -> anyhow::Result<Option<Config>> {
        let is_named = self.config.is_some()
            || variables
                .get("SETTLE_CONFIG")
                .is_some_and(|file| !file.is_empty());
        Ok(is_named
            .then(|| load(&self.flags(), variables))
            .transpose()?)
    }

    /// Returns the data directory from the flag, from the variable, or the default. Does not read a settings file.
    pub fn data(&self, variables: &Variables) -> PathBuf {
        let variable = variables
            .get("SETTLE_DATA")
            .filter(|data| !data.is_empty())
            .map(PathBuf::from);
        self.data
            .clone()
            .or(variable)
            .unwrap_or_else(|| PathBuf::from(super::data::DEFAULT))
    }
}

/// Where settings, data and the database are.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Options {
    #[command(flatten)]
    place: PathFlags,
    /// A PostgreSQL URL without a password, or the path of an SQLite file [default: in the data directory].
    #[arg(long, value_name = "URL|PATH")]
    database: Option<String>,
}

impl Options {
    /// Returns the flags for [`load`].
    pub fn flags(&self) -> Flags {
        Flags {
            database: self.database.clone(),
            ..self.place.flags()
        }
    }

    /// Returns the settings of a command without further flags.
    pub fn load(&self) -> anyhow::Result<Config> {
        Ok(load(&self.flags(), &environment())?)
    }
}

/// Parses an integer within limits.
pub fn number(text: &str, limits: RangeInclusive<u32>) -> Result<u32, String> {
    let expected = || {
        format!(
            "expected a whole number from {} to {}",
            limits.start(),
            limits.end()
        )
    };
    text.parse()
        .ok()
        .filter(|number| limits.contains(number))
        .ok_or_else(expected)
}

/// Parses an address to listen on.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = if text.parse::<u16>().is_ok() {
        format!("127.0.0.1:{text}")
    } else {
        "127.0.0.1:8080".to_owned()
    };
    text.parse()
        .map_err(|_| format!("expected an IP address and a port, such as {expected}"))
}

/// Parses the URL of a server, with its scheme.
pub fn url(text: &str) -> Result<Url, String> {
    let of_http = |text: &str| {
        text.parse()
            .ok()
            .filter(|url: &Url| matches!(url.scheme(), "http" | "https"))
    };
    of_http(text).ok_or_else(|| {
        let meant = Some(format!("http://{text}"))
            .filter(|url| !text.contains("://") && of_http(url).is_some());
        let meant = meant.as_deref().unwrap_or("http://127.0.0.1:8081");
        format!("expected a URL that begins with http:// or https://, such as {meant}")
    })
}

/// Opens the database. Migrates the tables on SQLite, but not on PostgreSQL.
pub async fn open(config: &Config) -> anyhow::Result<Store> {
    let key = key(config)?;
    let opened = Store::open(storage::Config {
        database: database(config),
        key,
        clock: clock::now,
    })
    .await;
    let store = opened
        .map_err(|error| unopened(config, error))?
        .showing(shown_settings);
    // On SQLite, no transaction can have an old snapshot, so only PostgreSQL needs this.
    let is_postgres = matches!(config.database, Database::Postgres(_));
    Ok(if is_postgres {
        store.with_low_marks(storage::SLOW_READ)
    } else {
        store
    })
}

/// Brings the database's tables up to date, and prints each step.
pub async fn migrate(config: &Config) -> anyhow::Result<()> {
    // Without a key the database could not be opened afterwards.
    key(config)?;
    let print = |progress: &Progress| table::line(&format!("{progress}."));
    storage::migrate(database(config), print)
        .await
        .map_err(|error| unopened(config, error))
}

/// Returns the steps that [`migrate`] would apply.
pub async fn planned(config: &Config) -> anyhow::Result<Vec<Planned>> {
    storage::planned(database(config))
        .await
        .map_err(|error| unopened(config, error))
}

fn key(config: &Config) -> anyhow::Result<Key> {
    let Some(key) = &config.key else {
        bail!(
            "no key to encrypt secrets with: set SETTLE_KEY. All processes on one database need the same key; that of \
             `settle run` is in the file `key` of its data directory. A new database needs 32 random bytes in base64, which \
             `openssl rand -base64 32` generates"
        );
    };
    Ok(Key::new(key.newest).after(key.older.clone()))
}

fn database(config: &Config) -> storage::Database {
    match &config.database {
        Database::Sqlite(path) => storage::Database::Sqlite(path.clone()),
        Database::Postgres(url) => {
            storage::Database::Postgres(secrecy::ExposeSecret::expose_secret(url).to_owned())
        }
    }
}

/// Returns the error for a database that cannot be opened, with the remedy.
fn unopened(config: &Config, error: Error) -> anyhow::Error {
    match error {
        Error::Locked(path) => anyhow::anyhow!(
            "another settle is running on {}: stop it, or choose another directory with --data \
             (several processes on one database need PostgreSQL: SETTLE_DATABASE)",
            path.display()
        ),
        other => anyhow::Error::new(other).context(match &config.database {
            Database::Sqlite(path) => format!("cannot open the database {}", path.display()),
            Database::Postgres(_) => "cannot open the PostgreSQL database".to_owned(),
        }),
    }
}

/// Creates the directory of the SQLite file. Fails for root if the file does not exist and its directory belongs to
/// another user, such as a service's: the service could not open root's file, and usually another database was meant.
pub fn make_room(config: &Config) -> anyhow::Result<()> {
    let Database::Sqlite(path) = &config.database else {
        return Ok(());
    };
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let directory = super::data::directory(parent)
        .with_context(|| format!("cannot create the database {}", path.display()))?;
    match super::data::foreign_owner(&directory)? {
        Some(owner) if !path.exists() => bail!(
            "there is no database {}, and its directory belongs to another user ({owner}), who could not open a file \
             of root: name the database (SETTLE_DATABASE, --database), or run this as that user",
            path.display()
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::make_room;
    use api::config::{Flags, Variables, load};
    use std::os::unix::fs::chown;

    #[test]
    fn root_creates_no_database_in_the_directory_of_another_user() {
        let directory =
            std::env::temp_dir().join(format!("settle-room-{}", api::clock::random_uuid()));
        std::fs::create_dir(&directory).expect("a directory");
        let file = directory.join("settle.sqlite");
        let flags = Flags {
            database: Some(file.display().to_string()),
            ..Flags::default()
        };
        let config = load(&flags, &Variables::new()).expect("settings");
        make_room(&config).expect("one's own directory");
        // Only root can change the owner of a directory.
        let is_root = chown(&directory, Some(12345), None).is_ok();
        let refused = make_room(&config).map_err(|error| error.to_string());
        std::fs::write(&file, "").expect("a file");
        let existing = make_room(&config).map_err(|error| error.to_string());
        std::fs::remove_dir_all(&directory).expect("it is removed");
        assert_eq!(refused.is_err(), is_root);
        assert!(
            !is_root
                || refused
                    .is_err_and(|message| message.contains("belongs to another user (12345)"))
        );
        assert_eq!(existing, Ok(()), "an existing file keeps its owner");
    }
}
