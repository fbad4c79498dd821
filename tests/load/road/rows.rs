//! Rows written directly to the database: settling this many purchases one by one would take too long.

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use system_tests::postgres::PgConnection;

const AT_ONCE: usize = 200_000;

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Makes `count` copies of a receipt's purchase, each with its own key and receipt, without a user.
///
/// # Panics
/// When the database refuses the statement.
pub fn multiply(database: &str, receipt: &str, count: usize) {
    if database.starts_with("postgres") {
        let mut connection = PgConnection::establish(database).expect("the database");
        let columns = "SELECT column_name::text AS name FROM information_schema.columns
             WHERE table_name = 'purchases' AND table_schema = 'public'";
        let columns = sql_query(columns)
            .load::<Column>(&mut connection)
            .expect("columns");
        let key = "lpad(to_hex(i), 8, '0') || '-0000-5000-8000-000000000000'";
        for (first, last) in steps(count) {
            let numbers = format!("generate_series({first}::bigint, {last}) AS numbers(i)");
            connection
                .batch_execute(&copy(&columns, key, &numbers, receipt))
                .expect("copies");
        }
        connection
            .batch_execute("ANALYZE purchases")
            .expect("statistics");
    } else {
        let mut connection = SqliteConnection::establish(database).expect("the database");
        let columns = "SELECT name FROM pragma_table_info('purchases')";
        let columns = sql_query(columns)
            .load::<Column>(&mut connection)
            .expect("columns");
        let key = "printf('%08x-0000-5000-8000-000000000000', i)";
        for (first, last) in steps(count) {
            let numbers = format!(
                "(WITH RECURSIVE counted(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM counted WHERE i < {last})
                  SELECT i FROM counted) AS numbers"
            );
            connection
                .batch_execute(&copy(&columns, key, &numbers, receipt))
                .expect("copies");
        }
        connection.batch_execute("ANALYZE").expect("statistics");
    }
}

fn steps(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (1..=count)
        .step_by(AT_ONCE)
        .map(move |first| (first, (first + AT_ONCE - 1).min(count)))
}

fn copy(columns: &[Column], key: &str, numbers: &str, receipt: &str) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let value = |name: &&str| match *name {
        "collapse_key" => key.to_owned(),
        "receipt_id" => "'sleeping-' || i".to_owned(),
        "user_id" | "first_user_id" | "app_user_id" => "NULL".to_owned(),
        // A month from now, as for a subscription checked today.
        "next_wake_at" => "updated_at + 2592000000000".to_owned(),
        other => other.to_owned(),
    };
    let values: Vec<String> = names.iter().map(value).collect();
    format!(
        "INSERT INTO purchases ({}) SELECT {} FROM purchases, {numbers} WHERE receipt_id = '{receipt}'",
        names.join(", "),
        values.join(", ")
    )
}
