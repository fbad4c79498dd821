//! One trace per notification, from the store's request to the receiver, as a collector sees it.

use std::collections::{BTreeMap, BTreeSet};
use system_tests::collector::{Collector, Span};
use system_tests::process::Backend;
use system_tests::receiver::{Received, Reply};
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const INGRESS: &str = "POST /v1/stores/{store}/{ingress_key}";
const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
/// Index of the worker in `World::processes` on PostgreSQL.
const WORKER: usize = 1;

/// Returns the spans of the trace that the notification with this message id began.
fn trace_of(collector: &Collector, message_id: &str) -> Vec<Span> {
    let spans = collector.spans();
    let is_root =
        |span: &&Span| span.name == INGRESS && span.attribute("messaging.message.id") == message_id;
    let Some(trace_id) = spans.iter().find(is_root).map(|root| root.trace_id.clone()) else {
        return Vec::new();
    };
    spans
        .into_iter()
        .filter(|span| span.trace_id == trace_id)
        .collect()
}

/// Returns the names of a span and all its ancestors; `Err` if a parent is missing.
fn way_up(spans: &[Span], from: &Span) -> Result<Vec<String>, String> {
    let by_id: BTreeMap<&str, &Span> = spans
        .iter()
        .map(|span| (span.span_id.as_str(), span))
        .collect();
    let (mut way, mut span) = (vec![from.name.clone()], from);
    while !span.parent_id.is_empty() {
        span = by_id
            .get(span.parent_id.as_str())
            .ok_or_else(|| format!("nothing is above {span:?}"))?;
        way.push(span.name.clone());
    }
    Ok(way)
}

/// Checks that the spans form one tree with one root, and that no id is used twice.
fn check_tree(spans: &[Span]) -> Result<(), String> {
    let roots = spans
        .iter()
        .filter(|span| span.parent_id.is_empty())
        .count();
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    if roots != 1 || ids.len() != spans.len() {
        return Err(format!(
            "{roots} roots, {} ids of {} spans",
            ids.len(),
            spans.len()
        ));
    }
    spans
        .iter()
        .try_for_each(|span| match way_up(spans, span)?.last() {
            Some(root) if root == INGRESS => Ok(()),
            other => Err(format!("{other:?} is the root of {span:?}")),
        })
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// Returns the `traceparent` header of a request, which must name the span of that request.
fn traceparent(request: &Received) -> String {
    request
        .headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn header_of(span: &Span) -> String {
    format!("00-{}-{}-01", span.trace_id, span.span_id)
}

/// Kills the worker if it is running, and restarts it without fail points.
fn revive_worker(world: &mut World, collector: &Collector) {
    let variables = collector.variables();
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    world.processes()[WORKER].kill9();
    world.processes()[WORKER] = world.installation.start(&["worker"], &variables);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tree_from_the_store_to_the_receiver_over_killed_workers() {
    let collector = Collector::start().await;
    let mut variables = collector.variables();
    variables.push(("FAILPOINTS".to_owned(), "load.after=1*return".to_owned()));
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 2,
        variables,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    // The second worker dies during the first back-off, which a command ends.
    world.set_schedule(&[3600]).await;
    world.receiver.answer_next(1, &Reply::Status(500));
    let message_id = world.send(BOUGHT, "traced").await;

    // The first worker dies while it settles, the second after a failed attempt.
    world.processes()[WORKER].wait_end().await;
    revive_worker(&mut world, &collector);
    wait::until(SOON, "the spans of a failed attempt", async || {
        let spans = trace_of(&collector, &message_id);
        let has_failed = |span: &&Span| span.attribute("http.response.status_code") == "500";
        let is_recorded = |span: &&Span| span.attribute("outcome") == "retry";
        let is_there = named(&spans, "POST").iter().any(has_failed)
            && named(&spans, "RunActivity:deliver").iter().any(is_recorded);
        if is_there {
            Ok(())
        } else {
            Err(format!("{spans:#?}"))
        }
    })
    .await;
    revive_worker(&mut world, &collector);
    world.signal_by_script("traced", "redeliver").await;
    world.wait_acked("traced", 1).await;

    let spans = wait::until(SOON, "a whole tree", async || {
        let spans = trace_of(&collector, &message_id);
        let has_all =
            named(&spans, "POST").len() == 2 && named(&spans, "RunActivity:deliver").len() >= 2;
        check_tree(&spans)?;
        if has_all {
            Ok(spans)
        } else {
            Err(format!("{spans:#?}"))
        }
    })
    .await;
    check_path(&world, &spans);
    let line = format!("trace_id={}", spans[0].trace_id);
    let logs = world.installation.logs();
    assert!(
        logs.lines()
            .any(|one| one.contains("attempted a delivery") && one.contains(&line)),
        "{logs}"
    );
    world.finish().await;
}

/// Checks the spans of a notification that another worker delivered with its second attempt.
fn check_path(world: &World, spans: &[Span]) {
    let requests = named(spans, "POST");
    let way = [
        "POST",
        "RunActivity:deliver",
        "RunWorkflow:purchase",
        INGRESS,
    ]
    .map(str::to_owned);
    for request in &requests {
        assert_eq!(way_up(spans, request), Ok(way.to_vec()));
        let full = format!(
            "{}/REDACTED",
            world.receiver.url().trim_end_matches("/hook")
        );
        assert_eq!(
            (request.kind, request.attribute("url.full")),
            (3, full.as_str())
        );
    }
    let statuses: BTreeSet<_> = requests
        .iter()
        .map(|span| span.attribute("http.response.status_code"))
        .collect();
    assert_eq!(statuses, BTreeSet::from(["200", "500"]));
    let processes: BTreeSet<_> = requests
        .iter()
        .map(|span| &span.resource["service.instance.id"])
        .collect();
    assert_eq!(processes.len(), 2, "two workers");
    let received: BTreeSet<String> = world
        .receiver
        .about(&world.key("traced").to_string())
        .iter()
        .map(traceparent)
        .collect();
    assert_eq!(
        received,
        requests.iter().map(|span| header_of(span)).collect()
    );
    let outcomes: BTreeSet<_> = named(spans, "RunActivity:deliver")
        .iter()
        .map(|span| span.attribute("outcome"))
        .collect();
    assert!(
        outcomes.is_superset(&BTreeSet::from(["delivered", "retry"])),
        "{outcomes:?}"
    );
    for (name, kind) in [
        (INGRESS, 2),
        ("INSERT notifications", 3),
        ("SignalWithStartWorkflow:purchase", 3),
        ("RunWorkflow:purchase", 2),
        ("RunActivity:settle", 2),
    ] {
        let found = named(spans, name);
        assert!(
            !found.is_empty() && found.iter().all(|span| span.kind == kind),
            "{name}: {spans:#?}"
        );
        assert!(
            found
                .iter()
                .all(|span| span.resource["service.name"] == "settle")
        );
    }
    let [root] = named(spans, INGRESS)[..] else {
        panic!("{spans:#?}")
    };
    let [settling] = named(spans, "RunWorkflow:purchase")[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(root.attribute("http.response.status_code"), "200");
    assert_eq!(root.attribute("url.path"), "/v1/stores/amazon/REDACTED");
    assert_eq!(
        named(spans, "INSERT notifications")[0].attribute("db.system.name"),
        "postgresql"
    );
    let window = settling.times.1.saturating_sub(settling.times.0);
    assert!(
        window >= 1_900_000_000,
        "the span of a settling begins with its window: {window} ns"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settling_links_the_other_notifications_of_its_window() {
    let collector = Collector::start().await;
    let setting = Setting {
        rvs: true,
        variables: collector.variables(),
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.rvs().know(
        "linked",
        system_tests::rvs::Receipt::subscription(api::clock::now()),
    );
    let mut message_ids = Vec::new();
    for (number, kind) in [
        BOUGHT,
        "SUBSCRIPTION_AUTO_RENEWAL_OFF",
        "SUBSCRIPTION_AUTO_RENEWAL_ON",
    ]
    .iter()
    .enumerate()
    {
        let later = i64::try_from(number).unwrap_or(0);
        message_ids.push(world.send_rtn(&Rtn::new(kind, "linked").later(later)).await);
    }
    world.settle("linked", &message_ids[2]).await;
    world.wait_acked("linked", 1).await;

    let spans = wait::until(SOON, "a whole tree", async || {
        let spans = trace_of(&collector, &message_ids[0]);
        check_tree(&spans)?;
        if named(&spans, "POST").is_empty() {
            Err(format!("{spans:#?}"))
        } else {
            Ok(spans)
        }
    })
    .await;
    let [settling] = named(&spans, "RunWorkflow:purchase")[..] else {
        panic!("{spans:#?}")
    };
    let roots: Vec<String> = message_ids
        .iter()
        .map(|id| {
            trace_of(&collector, id)
                .iter()
                .find(|span| span.name == INGRESS)
                .expect("a root")
                .span_id
                .clone()
        })
        .collect();
    assert_eq!(
        (&settling.parent_id, &settling.links[..]),
        (&roots[0], &roots[1..])
    );
    assert_eq!(settling.attribute("notifications"), "3");
    let [query] = named(&spans, "GET")[..] else {
        panic!("{spans:#?}")
    };
    let way = ["GET", "RunActivity:verify", "RunWorkflow:purchase", INGRESS].map(str::to_owned);
    assert_eq!(way_up(&spans, query), Ok(way.to_vec()));
    assert!(
        !named(&spans, "RunActivity:record").is_empty(),
        "{spans:#?}"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_counted_spans_and_nothing_else() {
    let collector = Collector::start().await;
    collector.hang();
    let mut variables = collector.variables();
    variables.push(("OTEL_BSP_MAX_QUEUE_SIZE".to_owned(), "4".to_owned()));
    variables.push(("OTEL_EXPORTER_OTLP_TIMEOUT".to_owned(), "600000".to_owned()));
    let mut world = World::start(Setting {
        window_seconds: 1,
        variables,
        ..Setting::default()
    })
    .await;
    for receipt_id in ["one", "two", "three"] {
        world.send(BOUGHT, receipt_id).await;
    }
    for receipt_id in ["one", "two", "three"] {
        world.wait_acked(receipt_id, 1).await;
    }
    super::metrics::wait_shown(
        &world,
        &["settle_spans_dropped_total{reason=\"queue\"}".to_owned()],
    )
    .await;
    assert!(collector.requests() > 0 && collector.spans().is_empty());
    let serve = world.serve();
    serve.terminate();
    assert!(serve.wait_end().await.success(), "{}", serve.log());
    world.restart().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_no_context_is_stored_or_sent() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    world.send(BOUGHT, "untraced").await;
    let received = world.wait_received("untraced", 1).await;
    assert!(
        received.iter().all(|one| traceparent(one).is_empty()),
        "{received:?}"
    );
    assert!(
        !world.installation.logs().contains("trace_id"),
        "{}",
        world.installation.logs()
    );
    world.finish().await;
}
