//! Runs of a redelivery. A run is the series of page requests under one name that the caller chose; it is not a
//! Temporal run. Each page is carried out once, even if it is requested again because its response was lost. Its
//! deliveries may already have arrived, and would otherwise be sent twice.

use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::Page;
use db::run::Run;
use db::secrets::{Secrets, sha256};
use db::sql::{Sql, insert, statement};
use db::statement::{Number, Value, row, sql};
use db::writer::Write;
use domain::time::DAY;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Namespace of the tombstones that replace run names.
const TABLE: &str = "pages";

/// How long a page's answer is stored.
const RETENTION: Duration = DAY.saturating_mul(7);

/// How a page is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMode {
    Dry,
    /// Deliveries are recorded at each request.
    Anew,
    /// Deliveries are recorded once in the run of this name. A repeated request within a week returns the first answer.
    Once(String),
}

/// A page of a run: its run, its cursor, and the digest of its request.
#[derive(Debug, Clone)]
pub struct PageOfRun {
    run: String,
    /// The tombstone that replaces the run's name if it contains a name of an erased customer.
    tombstone: String,
    cursor: String,
    request_digest: String,
}

row! {
    struct Answered {
        request_digest: String,
        answer: String,
    }
}

impl From<Run> for RunMode {
    fn from(run: Run) -> Self {
        if run == Run::Dry {
            Self::Dry
        } else {
            Self::Anew
        }
    }
}

impl RunMode {
    /// Returns the place of a page in its run; `None` for a request without a run. `request` contains everything that
    /// must be equal in all requests of the run.
    pub(crate) fn place(
        &self,
        page: &Page,
        request: &serde_json::Value,
        secrets: &Secrets,
    ) -> Option<PageOfRun> {
        let Self::Once(run) = self else { return None };
        let (cursor, request_digest) = (
            page.cursor.clone().unwrap_or_default(),
            sha256(&request.to_string()),
        );
        Some(PageOfRun {
            run: run.clone(),
            tombstone: tombstone(secrets, run),
            cursor,
            request_digest,
        })
    }
}

impl Store {
    /// Returns the stored answer of a page; `None` if the page was not carried out yet.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the run of this name has another request.
    pub(crate) async fn answered<T>(&self, place: Option<PageOfRun>) -> Result<Option<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let Some(place) = place else { return Ok(None) };
        self.read(move |connection| answered(connection, &place))
            .await
    }

    /// Deletes at most `limit` answers that are older than a week, oldest first. Returns the number of deleted
    /// ones.
    pub async fn forget_pages(&self, limit: i64) -> Result<usize, Error> {
        let before = self.now().await?.minus(RETENTION);
        let oldest: Option<Number> = self
            .read(move |connection| sql(OLDEST).bind(before).first(connection))
            .await?;
        if oldest.is_none() {
            return Ok(0);
        }
        self.write(move |write| sql(FORGET).bind(before).bind(limit).run(write.connection))
            .await
    }
}

const OLDEST: Sql = statement! {hot "pages_at", "
    SELECT at AS value
    FROM pages
    WHERE at < ?
    ORDER BY at
    LIMIT 1
"};

const FORGET: Sql = statement! {hot "pages_at", "
    DELETE FROM pages
    WHERE (run, cursor) IN (SELECT run, cursor FROM pages WHERE at < ? ORDER BY at LIMIT ?)
"};

/// Finds the tombstone of a run whose earlier pages were renamed when a customer was erased: the later pages use it
/// too.
const CONCEALED: Sql = statement!("SELECT run AS value FROM pages WHERE run = ? LIMIT 1");

const FINISH: Sql = statement!("UPDATE pages SET answer = ? WHERE run = ? AND cursor = ?");

/// Carries out a page and stores its answer. If the page was carried out before, returns the stored answer.
pub fn once<T: Serialize + DeserializeOwned>(
    write: &mut Write<'_>,
    place: Option<&PageOfRun>,
    work: impl FnOnce(&mut Write<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let Some(place) = place else {
        return work(write);
    };
    if let Some(done) = answered(write.connection, place)? {
        return Ok(done);
    }
    // A concurrent request for the same page waits here until the transaction of the first one ends.
    let concealed: Option<String> = sql(CONCEALED)
        .bind(place.tombstone.as_str())
        .value(write.connection)?;
    let (run, cursor) = (
        concealed.as_deref().unwrap_or(&place.run),
        place.cursor.as_str(),
    );
    let statement = insert!(
        pages {
            run,
            cursor,
            request_digest: place.request_digest.as_str(),
            answer: "",
            at: write.now()?
        },
        "ON CONFLICT DO NOTHING"
    );
    if statement.run(write.connection)? == 0 {
        return answered(write.connection, place)?.ok_or(Error::Missing {
            what: "page of that run",
        });
    }
    let done = work(write)?;
    let answer = serde_json::to_string(&done)
        .map_err(|error| Error::corrupt_by("an answer is not JSON", error))?;
    sql(FINISH)
        .bind((answer, run, cursor))
        .run(write.connection)?;
    Ok(done)
}

const ANSWER: Sql =
    statement!("SELECT request_digest, answer FROM pages WHERE run IN (?, ?) AND cursor = ?");

fn answered<T: DeserializeOwned>(
    connection: &mut AnyConnection,
    place: &PageOfRun,
) -> Result<Option<T>, Error> {
    let row: Option<Answered> = sql(ANSWER)
        .bind((
            place.run.as_str(),
            place.tombstone.as_str(),
            place.cursor.as_str(),
        ))
        .first(connection)?;
    let Some(row) = row else { return Ok(None) };
    if row.request_digest != place.request_digest {
        let detail =
            "another run with this name requested something else: choose another name".to_owned();
        return Err(Error::Conflict {
            what: "run",
            detail,
        });
    }
    let answer = serde_json::from_str(&row.answer);
    answer
        .map(Some)
        .map_err(|error| Error::corrupt_by("the answer of a page cannot be read", error))
}

/// Returns the replacement for a run's name.
fn tombstone(secrets: &Secrets, run: &str) -> String {
    secrets.tombstone(TABLE, "run", run)
}

const NAMED: Sql = statement! {"
    SELECT DISTINCT run AS value
    FROM pages
    WHERE EXISTS (WITH names (pattern) AS (VALUES ?*) SELECT 1 FROM names WHERE run LIKE pattern ESCAPE '\\')
    ORDER BY run
"};
// A page that a process of release 0.1.0 carried out again has a row under either name.
const RENAME: Sql = statement! {"
    UPDATE pages
    SET run = ?
    WHERE run = ? AND NOT EXISTS (SELECT 1 FROM pages o WHERE o.run = ? AND o.cursor = pages.cursor)
"};
const REMOVE: Sql = statement!("DELETE FROM pages WHERE run = ?");

/// Replaces the names of the runs that contain a name of an erased customer: those that match a pattern, and then
/// `is_named`. Their pages are still carried out only once. Returns the number of renamed pages.
pub fn conceal(
    write: &mut Write<'_>,
    secrets: &Secrets,
    patterns: impl Iterator<Item = String>,
    is_named: impl Fn(&str) -> bool,
) -> Result<usize, Error> {
    let mut concealed = 0;
    let rows = patterns.map(|pattern| [Value::from(pattern)]);
    let runs: Vec<String> = sql(NAMED)
        .uncached()
        .bind_rows(rows)
        .values(write.connection)?;
    for run in runs.iter().map(String::as_str).filter(|run| is_named(run)) {
        let tombstone = tombstone(secrets, run);
        let (to, rename) = (tombstone.as_str(), sql(RENAME));
        concealed += rename.bind((to, run, to)).run(write.connection)?;
        concealed += sql(REMOVE).bind(run).run(write.connection)?;
    }
    Ok(concealed)
}
