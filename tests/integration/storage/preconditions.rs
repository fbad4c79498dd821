//! Everything that opens or migrates a PostgreSQL database reports at the start, in one sentence, what the server
//! lacks.

use super::world::key_of_all_ones;
use diesel::sql_types::Bool;
use diesel::{Connection as _, RunQueryDsl as _};
use domain::Timestamp;
use storage::{Config, Database, Error, Store};
use system_tests::pooler;
use system_tests::postgres::{self, Fsync, PgConnection};
use url::Url;

/// Returns the errors of migrating, planning a migration, and opening this database.
async fn refusals(url: &str) -> [String; 3] {
    let database = Database::Postgres(url.to_owned());
    let config = Config {
        database: database.clone(),
        key: key_of_all_ones(),
        clock: || Timestamp::from_micros(1),
    };
    let errors = [
        storage::migrate(database.clone(), |_| {}).await.map(drop),
        storage::planned(database).await.map(drop),
        Store::open(config).await.map(drop),
    ];
    errors.map(|error| match error {
        Ok(()) => String::new(),
        Err(error @ Error::Corrupt { .. }) => error.to_string(),
        Err(error) => panic!("it is no advice to try again: {error:?}"),
    })
}

async fn empty() -> String {
    tokio::task::spawn_blocking(postgres::database)
        .await
        .unwrap()
        .unwrap()
}

async fn migrated() -> String {
    tokio::task::spawn_blocking(|| postgres::migrated(Fsync::Off))
        .await
        .unwrap()
        .unwrap()
}

async fn run(url: &str, statement: impl Into<String>) {
    let (url, statement) = (url.to_owned(), statement.into());
    tokio::task::spawn_blocking(move || postgres::execute(&url, &statement))
        .await
        .unwrap()
        .unwrap();
}

fn name_of(url: &str) -> String {
    Url::parse(url)
        .unwrap()
        .path()
        .trim_start_matches('/')
        .to_owned()
}

/// Creates a role that may only connect; returns its name and a URL with it.
async fn role(url: &str) -> (String, String) {
    let role = format!("role_{}", name_of(url));
    run(url, format!("CREATE ROLE {role} LOGIN")).await;
    let mut with_role = Url::parse(url).unwrap();
    with_role.set_username(&role).unwrap();
    (role, with_role.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_encoding_than_utf_8_is_refused() {
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let mut url = Url::parse(&empty().await).unwrap();
        let name = format!("{}_{}", name_of(url.as_str()), encoding.to_lowercase());
        let create = format!("CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0");
        run(url.as_str(), create).await;
        url.set_path(&name);
        let sentence = format!("its encoding is {encoding}: create it with `ENCODING 'UTF8'`");
        let refusals = refusals(url.as_str()).await;
        assert!(
            refusals.iter().all(|refusal| refusal.ends_with(&sentence)),
            "{refusals:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_between_transactions_is_refused() {
    let url = migrated().await;
    assert_eq!(refusals(&url).await, [""; 3], "the server itself is not");
    let refusals = refusals(&pooler::before_url(&url).unwrap()).await;
    assert!(
        refusals
            .iter()
            .all(|refusal| refusal.contains("`pool_mode = session`")),
        "{refusals:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_server_is_refused() {
    let url = migrated().await;
    run(
        &url,
        format!(
            "ALTER DATABASE {} SET default_transaction_read_only = on",
            name_of(&url)
        ),
    )
    .await;
    let refusals = refusals(&format!("{url}?target_session_attrs=any")).await;
    assert!(
        refusals
            .iter()
            .all(|refusal| refusal.contains("`default_transaction_read_only` is on")),
        "{refusals:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_without_rights_is_refused_with_the_tables() {
    let url = migrated().await;
    let (role, as_role) = role(&url).await;
    let all = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public";
    run(&url, format!("GRANT {all} TO {role}")).await;
    assert_eq!(refusals(&as_role).await, [""; 3]);
    run(
        &url,
        format!("REVOKE UPDATE, DELETE ON audit_log FROM {role}"),
    )
    .await;
    run(
        &url,
        format!("REVOKE INSERT, UPDATE, DELETE ON fingerprints FROM {role}"),
    )
    .await;
    assert_eq!(refusals(&as_role).await, [""; 3], "these are not needed");
    run(&url, format!("REVOKE DELETE ON deliveries FROM {role}")).await;
    run(&url, format!("REVOKE SELECT ON purchases FROM {role}")).await;
    let denied = refusals(&as_role).await;
    let sentence = format!(
        "`{role}` lacks rights: GRANT SELECT, INSERT, UPDATE, DELETE on the tables deliveries, purchases"
    );
    assert!(
        denied.iter().all(|refusal| refusal.ends_with(&sentence)),
        "{denied:?}"
    );
    run(&url, "REVOKE USAGE ON SCHEMA public FROM PUBLIC").await;
    let denied = refusals(&as_role).await;
    assert!(
        denied
            .iter()
            .all(|refusal| refusal.contains("`search_path`")),
        "{denied:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_create_no_tables_does_not_migrate() {
    let url = empty().await;
    run(&url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let (role, as_role) = role(&url).await;
    let error = storage::migrate(Database::Postgres(as_role), |_| {})
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("the role `{role}` may not migrate")),
        "{error}"
    );
    let found = "EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = 'public')";
    let mut connection = tokio::task::spawn_blocking(move || PgConnection::establish(&url))
        .await
        .unwrap()
        .unwrap();
    let is_changed: bool = diesel::select(diesel::dsl::sql::<Bool>(found))
        .get_result(&mut connection)
        .unwrap();
    assert!(!is_changed, "nothing was created");
}
