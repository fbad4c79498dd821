//! The filters, the command and the file of a list.

use super::csv::harmless;
use super::filter::{kind, property};
use super::{Filter, command};
use crate::{alarms, destinations, events, purchases};
use api::extract::{Fields, schema};
use api::resources::events::EventQuery;
use api::resources::query::Listed;
use storage::{AuditLogFilter, DeliveryFilter, PurchaseFilter};

#[test]
fn the_command_lists_what_the_page_lists() {
    for (fields, expected) in [
        (&[][..], "settle purchase list"),
        (
            &[
                ("platform_id", "p1"),
                ("state", "active"),
                ("held", "true"),
                ("failing", "false"),
            ],
            "settle purchase list --platform p1 --state active --held --failing false",
        ),
        (
            &[
                ("external_id", "e"),
                ("app_user_id", "u"),
                ("receipt_id", "true"),
            ],
            "settle purchase list --external-id e --app-user u --receipt true",
        ),
        (
            &[("receipt_id", "it's")],
            "settle purchase list --receipt 'it'\\''s'",
        ),
    ] {
        assert_eq!(
            command::<Listed<PurchaseFilter>>("settle purchase list", fields),
            expected
        );
    }
    let of_one = &[("collapse_key", "k"), ("destination_id", "d")];
    let expected = "settle delivery list --purchase k --destination d";
    assert_eq!(
        command::<Listed<DeliveryFilter>>("settle delivery list", of_one),
        expected
    );
}

#[test]
fn a_filter_is_entered_by_its_schema() {
    let of_purchases = |name: &str| kind(&schema::<Listed<PurchaseFilter>>()["properties"][name]);
    assert_eq!(
        ["state", "held", "receipt_id"].map(of_purchases),
        ["select", "box", "text"]
    );
    let of_events = |name: &str| kind(&schema::<Listed<EventQuery>>()["properties"][name]);
    assert_eq!(
        ["environment", "from", "type"].map(of_events),
        ["select", "instant", "text"]
    );
}

#[test]
fn every_filter_is_a_field_of_its_query() {
    fn check<Q: Fields, T>(filters: &[Filter<T>]) {
        for filter in filters {
            assert!(!property::<Q>(filter.name).is_null(), "{}", filter.name);
        }
    }
    check::<Listed<PurchaseFilter>, _>(purchases::list::FILTERS);
    check::<Listed<EventQuery>, _>(events::list::FILTERS);
    check::<Listed<DeliveryFilter>, _>(destinations::list::FILTERS);
    check::<Listed<AuditLogFilter>, _>(alarms::list::FILTERS);
}

#[test]
fn no_cell_is_a_formula() {
    for (text, written) in [
        ("\r=x", "'\r'=x"),
        ("\n=x", "'\n'=x"),
        ("receipt;=1+1", "receipt;'=1+1"),
        ("a, -b", "a, '-b"),
        ("\"@x", "\"'@x"),
        ("2026-01-01", "2026-01-01"),
        ("=HYPERLINK(\"x\")", "'=HYPERLINK(\"x\")"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("＝1＋1", "'＝1＋1"),
        ("a,＠x", "a,'＠x"),
        ("－1;＋1", "'－1;'＋1"),
        ("\t=x", "'\t'=x"),
        ("a=b", "a=b"),
        ("", ""),
    ] {
        assert_eq!(harmless(text), written);
    }
}
