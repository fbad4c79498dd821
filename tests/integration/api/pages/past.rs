//! A customer's access on a past day.

use super::customers::{customer, has, signed_in};
use crate::api::edge::Service;

#[tokio::test]
async fn what_a_customer_had_on_a_day_is_shown() {
    let service = Service::start("customers-past").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    let visitor = signed_in(&service).await;
    let on = async |day: &str| {
        visitor
            .get(&service, &format!("/ui/customers/{app}/{user}?on={day}"))
            .await
    };
    let shown = on("2026-10-03").await;
    has(
        &shown,
        &[
            "The day and all times in this card are in UTC. This is what settle announced; a destination may have received it later.",
            "Access at the end of 2026-10-03 (UTC)<",
        ],
    );
    has(
        &shown,
        &[
            "As it was at 2026-10-03 23:59:59.",
            "recorded in this environment by then",
        ],
    );
    has(
        &on("1970-01-01").await,
        &["No access known.", "/ui/purchases/"],
    );
    let now = service.get("/v1/overview").await.body["now"]
        .as_str()
        .expect("a time")
        .to_owned();
    has(
        &on(&now[..10]).await,
        &[
            "As it is now, at ",
            &format!("Access today, {}<", &now[..10]),
        ],
    );
    has(
        &on("2999-01-01").await,
        &[
            "Expected today or a day in the past",
            "value=\"2999-01-01\"",
        ],
    );
    has(
        &on("yesterday").await,
        &["Expected a day such as 2026-10-03", "value=\"yesterday\""],
    );
}
