//! A response lists all invalid fields with their paths, and the other fields can still be checked.

use super::fields::{drafted, schema};
use super::{BodyLimit, Csv, Draft, formats, nullable};
use crate::error::{Error, Field};
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use domain::{DestinationId, Environment};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize, JsonSchema)]
struct Order {
    /// A text.
    name: String,
    /// A number.
    #[schemars(range(min = 1, max = 9))]
    count: Option<i64>,
    /// A choice.
    environment: Option<Environment>,
    /// A choice of texts.
    #[schemars(extend("enum" = ["small", "large", null]))]
    size: Option<String>,
    /// Null is a value.
    #[serde(default, deserialize_with = "nullable")]
    limit: Option<Option<i64>>,
    /// Objects.
    #[schemars(extend("maxItems" = 2))]
    lines: Vec<Line>,
    /// Whole numbers.
    waits: Option<Vec<i64>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Line {
    /// An id.
    id: DestinationId,
    /// A bounded text.
    #[schemars(length(min = 1, max = 3), extend("x-maxBytes" = 4))]
    code: Option<String>,
}

fn draft(body: Value) -> Draft<Order> {
    let Value::Object(fields) = body else {
        panic!("an object")
    };
    drafted(fields).expect("what is wrong is replaced")
}

fn wrong(body: Value) -> Vec<(String, String)> {
    match draft(body).finish() {
        Err(Error::Invalid(fields)) => fields
            .into_iter()
            .map(|Field { field, expected }| (field, expected))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn expected(body: Value, field: &str) -> String {
    let all = wrong(body);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].0, field);
    all[0].1.clone()
}

#[test]
fn all_wrong_fields_are_named_with_their_places() {
    let all = wrong(json!({ "count": 10, "size": "huge", "lines": 1, "environment": 1 }));
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["count", "environment", "lines", "name", "size"]);
    let lines = json!([{ "id": "x", "code": "long" }, "line"]);
    let all = wrong(json!({ "name": "n", "lines": lines, "coutn": 1 }));
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["lines[0].code", "lines[0].id", "lines[1]", "coutn"]);
    assert!(all[3].1.ends_with("; did you mean `count`?"), "{all:?}");
}

#[test]
fn what_was_expected_follows_from_the_schema() {
    let order = |field: &str, value: Value| {
        let mut order = json!({ "name": "n", "lines": [] });
        order[field] = value;
        order
    };
    let line = |field: &str, value: Value| {
        let mut line = json!({ "id": "6b275a67-0bbb-4f3a-99b9-6600bf711993" });
        line[field] = value;
        order("lines", json!([line]))
    };
    let cases = [
        (order("name", Value::Null), "name", "text; it is required"),
        (order("name", json!(1)), "name", "text, but it is a number"),
        (
            order("name", json!("two\nlines")),
            "name",
            "text of 1 to 2048 bytes without control characters",
        ),
        (
            line("code", json!("")),
            "lines[0].code",
            "text of 1 to 3 characters without control characters",
        ),
        (
            order("count", json!(0)),
            "count",
            "a whole number from 1 to 9, but it is 0",
        ),
        (
            order("environment", json!("live")),
            "environment",
            "`production` or `sandbox`, but it is `live`",
        ),
        (
            order("size", json!("huge")),
            "size",
            "`small` or `large`, but it is `huge`",
        ),
        (
            order("lines", json!([1, 2, 3])),
            "lines",
            "at most 2 items, but it has 3",
        ),
        (
            order("lines", json!("x")),
            "lines",
            "a list of objects, but it is text",
        ),
        (
            line("id", json!("x")),
            "lines[0].id",
            "a UUID, but it is `x`",
        ),
        (
            line("code", json!("long")),
            "lines[0].code",
            "text of 1 to 3 characters, but it has 4",
        ),
        (
            line("code", json!("äöü")),
            "lines[0].code",
            "text of at most 4 bytes, but it has 6",
        ),
    ];
    for (body, field, text) in cases {
        assert_eq!(expected(body, field), text);
    }
}

#[test]
fn a_whole_number_may_be_written_as_a_decimal() {
    let count = |count: Value| {
        draft(json!({ "name": "n", "lines": [], "count": count }))
            .body
            .count
    };
    assert_eq!(
        (count(json!(5.0)), count(json!(5.5)), count(json!(1e300))),
        (Some(5), None, None)
    );
    let waits = |waits: Value| {
        draft(json!({ "name": "n", "lines": [], "waits": waits }))
            .body
            .waits
    };
    assert_eq!(
        (waits(json!([5.0, 7])), waits(json!([5.5]))),
        (Some(vec![5, 7]), None),
        "also in a list"
    );
}

#[test]
fn what_is_wrong_is_replaced_so_that_the_rest_can_be_judged() {
    let draft = draft(json!({ "name": 1, "count": "many", "limit": null, "lines": [{ "id": 1 }] }));
    assert_eq!(
        (draft.body.count, draft.body.limit, draft.body.lines.len()),
        (None, Some(None), 1)
    );
    assert!(
        draft.body.environment.is_none()
            && draft.body.size.is_none()
            && !draft.body.name.is_empty()
    );
    assert!(draft.body.lines[0].code.is_none() && !draft.body.lines[0].id.to_string().is_empty());
    assert!(draft.finish().is_err(), "and it is refused");
}

#[test]
fn the_example_of_a_schema_fits_it() {
    let example = formats::example(schema::<Order>());
    assert!(draft(example).finish().is_ok());
}

#[tokio::test]
async fn a_csv_file_may_be_sent_as_bytes() {
    for (media, is_taken) in [
        ("text/csv", true),
        ("Text/CSV; charset=utf-8", true),
        ("application/octet-stream", true),
        ("text/plain", false),
    ] {
        let request = Request::builder()
            .header(header::CONTENT_TYPE, media)
            .extension(BodyLimit(100));
        let request = request.body(Body::from("a,b\n")).expect("a request");
        let csv = Csv::from_request(request, &()).await;
        assert_eq!(
            csv.is_ok_and(|Csv(bytes)| bytes == "a,b\n"),
            is_taken,
            "{media}"
        );
    }
}
