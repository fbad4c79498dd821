//! Irregular notifications from Amazon's pages, and how they are mapped.

use super::super::envelope::{Version, parse};
use super::super::mapping::{kind, rows, unreadable};
use super::super::notification::read;
use super::{SIGNER, at, header, now};
use domain::{
    AppId, CollapseKey, Notification, NotificationKind, Outcome, PlatformId, Timestamp, TopicId,
};
use storage::{Handling, NewNotification, Platform, PlatformSettings};
use uuid::Uuid;

const SUBSCRIPTION: &str = r#"{"appPackageName":"com.example.amazonsdkapivalidator3","notificationType":"SUBSCRIPTION_PURCHASED","appUserId":"io9oFdzmCSMuKk_pp9pYccoIHRfc6kSAAYaNo51xZrg=","receiptId":"koxIn_LO2u7rc-_MF40hKz1vqSSJSlitfTNDeH_JAs8=:3:11","relatedReceipts":{},"timestamp":1600701569824,"betaProductTransaction":false}"#;
const CONSUMABLE: &str = r#"{"receiptId":"bsw3Wi6w17Ngdabggckh61kmmFhfwlfT9nPZeLfh83k=:1:11+Sheet2!A1+","relatedReceipts": {},"appUserId":"kyplB1fdRX1m6/GNAVW0l6jv9Nl1V/GemSopKBHM84w=","notificationType":"CONSUMABLE_PURCHASED","appPackageName":"com.playrix.gardenscapes.amazon","timestamp":1588086967189, "betaProductTransaction":false,}"#;

fn platform(package_name: &str) -> Platform {
    Platform {
        id: PlatformId::new(Uuid::from_u128(1)),
        app_id: AppId::new(Uuid::from_u128(2)),
        store: "amazon".to_owned(),
        settings: PlatformSettings::new("Amazon", package_name, 120_000),
        has_login_secret: false,
        has_shared_secret: false,
        unsigned_login_at: None,
        secret_refused_at: None,
        publishable_key: "pk_test".to_owned(),
        store_settings: None,
        store_credentials_at: None,
        created_at: now(),
    }
}

/// The rows of a message that is signed and read like a received one.
fn mapped(package_name: &str, message: &str, handling: &Handling) -> Vec<NewNotification> {
    mapped_for(&platform(package_name), message, handling)
}

fn mapped_for(platform: &Platform, message: &str, handling: &Handling) -> Vec<NewNotification> {
    let document = SIGNER
        .sign_notification(&header(Version::One), None, message)
        .expect("signed");
    assert_eq!(super::verdict(&document), "valid");
    let envelope = parse(document.as_bytes()).expect("a document");
    assert_eq!(envelope.message, message);
    match read(&envelope.message) {
        Ok(rtn) => rows(platform, &envelope, &rtn, handling, now()),
        Err(why) => vec![unreadable(platform, &envelope, why)],
    }
}

fn notification(row: &NewNotification) -> Notification {
    serde_json::from_str(&row.body).expect("a notification")
}

/// The row for a notification of the app `com.example.app` with these fields in addition to package, receipt and type.
fn with(fields: &str) -> NewNotification {
    let message = format!(
        r#"{{"appPackageName":"com.example.app","receiptId":"r1","notificationType":"SUBSCRIPTION_RENEWED"{fields}}}"#
    );
    let mut rows = mapped("com.example.app", &message, &Handling::Open);
    assert_eq!(rows.len(), 1, "{message}");
    rows.remove(0)
}

#[test]
fn the_three_examples_of_amazons_page_are_read() {
    let entitlement = CONSUMABLE.replace("CONSUMABLE_PURCHASED", "ENTITLEMENT_PURCHASED");
    let cases = [
        (
            SUBSCRIPTION,
            "com.example.amazonsdkapivalidator3",
            NotificationKind::SubscriptionPurchased,
        ),
        (
            CONSUMABLE,
            "com.playrix.gardenscapes.amazon",
            NotificationKind::ConsumablePurchased,
        ),
        (
            &entitlement,
            "com.playrix.gardenscapes.amazon",
            NotificationKind::EntitlementPurchased,
        ),
    ];
    let read: Vec<_> = cases
        .iter()
        .map(|(message, package, kind)| {
            let rows = mapped(package, message, &Handling::Open);
            assert_eq!(
                (rows.len(), notification(&rows[0]).kind, &rows[0].handling),
                (1, *kind, &Handling::Open)
            );
            serde_json::to_value(notification(&rows[0])).expect("JSON")
        })
        .collect();
    insta::assert_json_snapshot!(read);
}

#[test]
fn each_of_the_sixteen_types_has_its_kind_others_are_unknown() {
    let types = [
        "SUBSCRIPTION_PURCHASED",
        "SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID",
        "SUBSCRIPTION_RENEWED",
        "SUBSCRIPTION_AUTO_RENEWAL_OFF",
        "SUBSCRIPTION_AUTO_RENEWAL_ON",
        "SUBSCRIPTION_SCHEDULED_TO_END",
        "SUBSCRIPTION_IN_GRACE_PERIOD",
        "SUBSCRIPTION_OUT_OF_GRACE_PERIOD",
        "SUBSCRIPTION_MODIFIED_IMMEDIATE",
        "SUBSCRIPTION_MODIFIED_DEFERRED",
        "SUBSCRIPTION_CANCELLED",
        "SUBSCRIPTION_EXPIRED",
        "CONSUMABLE_PURCHASED",
        "CONSUMABLE_CANCELLED",
        "ENTITLEMENT_PURCHASED",
        "ENTITLEMENT_CANCELLED",
    ];
    let kinds: std::collections::BTreeSet<NotificationKind> =
        types.iter().map(|store_type| kind(store_type)).collect();
    assert_eq!(kinds.len(), types.len());
    for other in [
        "SUBSCRIPTION_CANCELED",
        "subscription_renewed",
        "SUBSCRIPTION_PAUSED",
        "X",
    ] {
        assert_eq!(kind(other), NotificationKind::Unknown);
    }
    assert_eq!(
        kind("SUBSCRIPTION_OUT_OF_GRACE_PERIOD"),
        NotificationKind::OutOfGrace
    );
    insta::assert_debug_snapshot!(types.map(|store_type| (store_type, kind(store_type))));
}

#[test]
fn a_notification_of_an_unknown_type_stays_open() {
    let rows = mapped(
        "com.example.app",
        r#"{"appPackageName":"com.example.app","receiptId":"r1","notificationType":"SUBSCRIPTION_PAUSED"}"#,
        &Handling::Open,
    );
    assert_eq!(
        (
            rows[0].handling.clone(),
            notification(&rows[0]).kind,
            rows[0].store_type.as_str()
        ),
        (
            Handling::Open,
            NotificationKind::Unknown,
            "SUBSCRIPTION_PAUSED"
        )
    );
}

#[test]
fn odd_fields_are_read_or_left_out() {
    for related in [
        "{}",
        "[]",
        "null",
        "\"\"",
        "7",
        r#"{"cancelledReceiptId":null}"#,
        r#"{"other":["x"]}"#,
    ] {
        assert_eq!(
            notification(&with(&format!(r#","relatedReceipts":{related}"#))).related_receipt_id,
            None,
            "{related}"
        );
    }
    let seconds = at("2020-09-21T15:19:29.824Z");
    for time in [
        "1600701569824",
        "\"1600701569824\"",
        "\" 1600701569824 \"",
        "1600701569824.0",
        "1.600701569824e12",
    ] {
        assert_eq!(
            with(&format!(r#","timestamp":{time}"#)).store_time,
            Some(seconds),
            "{time}"
        );
    }
    for none in ["null", "\"soon\"", "{}", "1.5", "18446744073709551615"] {
        assert_eq!(
            with(&format!(r#","timestamp":{none}"#)).store_time,
            Some(now()),
            "{none}"
        );
    }
    assert_eq!(with("").store_time, Some(now()));
    for (field, is_test) in [
        (r#","betaProductTransaction":true"#, true),
        (r#","betaProduct":true"#, true),
        (r#","betaProduct":"TRUE""#, true),
        (r#","betaProductTransaction":null"#, false),
        (r#","betaProductTransaction":1"#, false),
        ("", false),
    ] {
        assert_eq!(notification(&with(field)).is_test, is_test, "{field}");
    }
    assert_eq!(
        with(r#","country":"US","more":{"a":[1,2,{}]}"#).handling,
        Handling::Open
    );
    assert_eq!(with(r#","appUserId":null"#).app_user_id, None);
    assert_eq!(
        with(r#","appUserId":"io9o/+=_-""#).app_user_id.as_deref(),
        Some("io9o/+=_-")
    );
}

#[test]
fn trailing_commas_are_forgiven_outside_of_strings_only() {
    for fields in [
        ",",
        " ,\n ",
        r#","relatedReceipts":{"x":[1,2,],},"#,
        r#","a":"\"},",}"#.trim_end_matches('}'),
    ] {
        assert_eq!(with(fields).handling, Handling::Open, "{fields}");
    }
    let inside = with(r#","appUserId":"a,}\\\",]","#);
    assert_eq!(inside.app_user_id.as_deref(), Some(r#"a,}\",]"#));
}

#[test]
fn an_unreadable_message_is_stored_unchanged() {
    let ids = |name: &str, value: &str| {
        let base = r#"{"appPackageName":"com.example.app","notificationType":"X","receiptId":"r","appUserId":"u"}"#;
        let mut fields: serde_json::Value = serde_json::from_str(base).expect("JSON");
        fields[name] = serde_json::from_str(value).expect("JSON");
        fields.to_string()
    };
    let (long_receipt, long_user) = (
        format!("\"{}\"", "r".repeat(201)),
        format!("\"{}\"", "u".repeat(129)),
    );
    let receipt = "receiptId is not a string of 1 to 200 characters";
    let user = "appUserId is not a string of 1 to 128 characters";
    let package = "appPackageName is not a string of 1 to 255 characters";
    let cases = [
        ("Hello world".to_owned(), "message is not a JSON object", ""),
        (String::new(), "message is not a JSON object", ""),
        ("[1]".to_owned(), "message is not a JSON object", ""),
        ("{\"a\":1,,}".to_owned(), "message is not a JSON object", ""),
        (
            "{\"nul\":\u{0}}".to_owned(),
            "message is not a JSON object",
            "",
        ),
        ("{}".to_owned(), receipt, ""),
        (ids("receiptId", "\"\""), receipt, "X"),
        (ids("receiptId", "7"), receipt, "X"),
        (ids("receiptId", &long_receipt), receipt, "X"),
        (ids("receiptId", "\"a\\u0000b\""), receipt, "X"),
        (ids("appUserId", &long_user), user, "X"),
        (ids("appUserId", "7"), user, "X"),
        (ids("appUserId", "\"\""), user, "X"),
        (ids("appPackageName", "null"), package, "X"),
        (
            ids("notificationType", "null"),
            "notificationType is not a string of 1 to 128 characters",
            "",
        ),
        (
            ids("notificationType", &long_user),
            "notificationType is not a string of 1 to 128 characters",
            "",
        ),
    ];
    for (message, reason, store_type) in cases {
        let rows = mapped("com.example.app", &message, &Handling::Open);
        let row = &rows[0];
        assert_eq!(
            (
                rows.len(),
                row.receipt_id.as_str(),
                row.collapse_key,
                row.store_type.as_str()
            ),
            (1, "", None, store_type),
            "{message}"
        );
        assert_eq!(
            row.handling,
            Handling::Final(Outcome::Unknown, reason.to_owned()),
            "{message}"
        );
        assert_eq!(row.body, message.replace('\0', "\u{fffd}"));
    }
    let longest = ids("receiptId", &format!("\"{}\"", "\u{fc}".repeat(200)));
    assert_eq!(
        mapped("com.example.app", &longest, &Handling::Open)[0].handling,
        Handling::Open
    );
}

#[test]
fn an_immediate_plan_change_concerns_two_purchases() {
    let message = |related: &str| {
        format!(
            r#"{{"appPackageName":"com.example.app","receiptId":"new","notificationType":"SUBSCRIPTION_MODIFIED_IMMEDIATE","appUserId":"u","timestamp":1600701569824,"relatedReceipts":{related}}}"#
        )
    };
    let handling = Handling::WaitTopic(TopicId::new(Uuid::from_u128(9)));
    let rows = mapped(
        "com.example.app",
        &message(r#"{"cancelledReceiptId":"old"}"#),
        &handling,
    );
    let concerned: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                notification(row).kind,
                row.receipt_id.as_str(),
                notification(row).related_receipt_id,
            )
        })
        .collect();
    assert_eq!(
        concerned,
        [
            (NotificationKind::PlanChanged, "new", Some("old".to_owned())),
            (NotificationKind::Replaced, "old", Some("new".to_owned()))
        ]
    );
    let platform = PlatformId::new(Uuid::from_u128(1));
    assert_eq!(rows[1].collapse_key, Some(CollapseKey::of(platform, "old")));
    assert!(rows.iter().all(|row| row.handling == handling
        && row.message_id == rows[0].message_id
        && row.app_user_id.as_deref() == Some("u")));
    for related in [
        "[]",
        r#"{"cancelledReceiptId":"new"}"#,
        r#"{"cancelledReceiptId":""}"#,
    ] {
        let rows = mapped("com.example.app", &message(related), &handling);
        assert_eq!(
            (
                rows.len(),
                notification(&rows[0]).kind,
                notification(&rows[0]).related_receipt_id
            ),
            (1, NotificationKind::PlanChanged, None),
            "{related}"
        );
    }
    let other = message(r#"{"cancelledReceiptId":"old"}"#).replace("MODIFIED_IMMEDIATE", "RENEWED");
    assert_eq!(mapped("com.example.app", &other, &handling).len(), 1);
}

#[test]
fn a_notification_of_another_app_is_stored_as_refused() {
    let rows = mapped("com.example.app", SUBSCRIPTION, &Handling::Open);
    let reason =
        "appPackageName is `com.example.amazonsdkapivalidator3`, expected `com.example.app`"
            .to_owned();
    assert_eq!(
        (rows.len(), &rows[0].handling, rows[0].collapse_key),
        (1, &Handling::Final(Outcome::Refused, reason), None)
    );
    assert_eq!((rows[0].body.as_str(), rows[0].store_time), ("{}", None));
}

#[test]
fn a_timestamp_that_cannot_be_true_is_replaced_and_noted() {
    let millis = |text: &str| at(text).millis_since(Timestamp::default());
    let read = |timestamp: i64| {
        let row = with(&format!(r#","timestamp":{timestamp}"#));
        let body: serde_json::Value = serde_json::from_str(&row.body).expect("JSON");
        assert_eq!(
            row.store_time,
            Some(notification(&row).store_time),
            "the row and its body agree"
        );
        (
            row.store_time,
            body.get("stated_time")
                .and_then(|stated| stated.as_str().map(str::to_owned)),
        )
    };
    for believed in [
        "2010-01-01T00:00:00Z",
        "2020-09-21T15:19:29Z",
        "2026-06-01T12:00:06Z",
        "2026-06-01T12:15:00Z",
    ] {
        assert_eq!(
            read(millis(believed)),
            (Some(at(believed)), None),
            "{believed}"
        );
    }
    let others = [
        (1, "1970-01-01T00:00:00.001000Z"),
        (-1, "1969-12-31T23:59:59.999000Z"),
        (
            millis("2009-12-31T23:59:59Z"),
            "2009-12-31T23:59:59.000000Z",
        ),
        (
            millis("2026-06-01T12:15:01Z"),
            "2026-06-01T12:15:01.000000Z",
        ),
        (
            millis("2099-01-01T00:00:00Z"),
            "2099-01-01T00:00:00.000000Z",
        ),
        (i64::MAX, "9999-12-30T00:00:00.000000Z"),
    ];
    for (timestamp, stated) in others {
        assert_eq!(
            read(timestamp),
            (Some(now()), Some(stated.to_owned())),
            "{timestamp}"
        );
    }
}

#[test]
fn a_revocation_is_settled_at_once_where_the_platform_wants_it() {
    let message = |store_type: &str| {
        format!(
            r#"{{"appPackageName":"com.example.app","receiptId":"r","notificationType":"{store_type}","timestamp":1}}"#
        )
    };
    let mut eager = platform("com.example.app");
    eager.settings.flush_on_revoke = true;
    for store_type in [
        "SUBSCRIPTION_CANCELLED",
        "CONSUMABLE_CANCELLED",
        "ENTITLEMENT_CANCELLED",
    ] {
        assert_eq!(
            mapped_for(&eager, &message(store_type), &Handling::Open)[0].handling,
            Handling::AtOnce,
            "{store_type}"
        );
        assert_eq!(
            mapped("com.example.app", &message(store_type), &Handling::Open)[0].handling,
            Handling::Open,
            "off by default"
        );
        let waiting = Handling::WaitTopic(TopicId::new(Uuid::from_u128(9)));
        assert_eq!(
            mapped_for(&eager, &message(store_type), &waiting)[0].handling,
            waiting,
            "the topic is not trusted yet"
        );
    }
    for store_type in [
        "SUBSCRIPTION_EXPIRED",
        "SUBSCRIPTION_AUTO_RENEWAL_OFF",
        "SUBSCRIPTION_RENEWED",
    ] {
        assert_eq!(
            mapped_for(&eager, &message(store_type), &Handling::Open)[0].handling,
            Handling::Open,
            "{store_type}"
        );
    }
}
