//! The list of purchases.

use super::visitor::Visitor;
use crate::api::edge::{Service, TOKEN};

#[tokio::test]
async fn filters_of_purchases_are_those_of_the_api() {
    let service = Service::start("purchase-filters").await;
    service.platform().await;
    service.seed(&["receipt-1", "receipt-2"]).await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    for query in ["held=true", "failing=true", "state=expired"] {
        let none = visitor
            .get(&service, &format!("/ui/purchases?{query}"))
            .await;
        assert!(
            none.text.contains("No purchases match"),
            "{query}: {}",
            none.text
        );
        assert!(
            none.text
                .contains(&format!("$SETTLE_URL/v1/purchases?{query}&#34;")),
            "{query}"
        );
    }
    for (query, field) in [
        ("state=sold", "state"),
        ("held=perhaps", "held"),
        ("platform_id=1", "platform_id"),
    ] {
        let wrong = visitor
            .get(&service, &format!("/ui/purchases?{query}"))
            .await;
        assert_eq!(wrong.status, 400, "{query}");
        assert!(wrong.text.contains(field), "{query}: {}", wrong.text);
    }
    let wrong = visitor.get(&service, "/ui/purchases?state=nonsense").await;
    assert!(
        wrong.text.contains("State: expected") && !wrong.text.contains("value=\"nonsense\""),
        "it is no option: {}",
        wrong.text
    );
    let note = "Each state is filtered by itself: trial, active, in grace, and both with renewal off have access.";
    for (query, notes) in [("", 1), ("?state=active", 2)] {
        let shown = visitor
            .get(&service, &format!("/ui/purchases{query}"))
            .await;
        assert_eq!(
            shown.text.matches(note).count(),
            notes,
            "{query}: {}",
            shown.text
        );
    }
}
