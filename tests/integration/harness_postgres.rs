//! The tests' PostgreSQL is a real one; its commits are durable for the tests that need that.

use diesel::sql_types::{BigInt, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, sql_query};
use system_tests::postgres::{self, Fsync, PgConnection};

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    setting: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn setting(connection: &mut PgConnection, name: &str) -> String {
    let rows: Vec<Setting> = sql_query(format!("SELECT current_setting('{name}') AS setting"))
        .load(connection)
        .expect(name);
    rows.into_iter().next().expect(name).setting
}

#[test]
fn every_call_gives_an_empty_database_of_its_own() {
    let (first, second) = (
        postgres::database().expect("a database"),
        postgres::database().expect("another"),
    );
    assert_ne!(first, second);
    let mut connection = PgConnection::establish(&first).expect("the first one");
    sql_query("CREATE TABLE only_here (id bigint)")
        .execute(&mut connection)
        .expect("a table");
    let mut connection = PgConnection::establish(&second).expect("the second one");
    let count = "SELECT count(*) AS count FROM pg_tables WHERE schemaname = 'public'";
    let tables: Vec<Count> = sql_query(count).load(&mut connection).expect("a count");
    assert_eq!(tables.first().map(|row| row.count), Some(0));
}

#[test]
fn a_commit_reaches_the_disk_where_a_test_needs_it() {
    let database = postgres::migrated(Fsync::On).expect("a database");
    let mut connection = PgConnection::establish(&database).expect("a connection");
    assert_eq!(setting(&mut connection, "fsync"), "on");
    assert_eq!(setting(&mut connection, "synchronous_commit"), "on");
}
