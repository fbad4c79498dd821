//! Judges a round by I1 to I8 from outside only: by the HTTP API, the requests at the endpoints, `settle check` and the
//! histories in Temporal.

use crate::endpoints::{DOWN, KEY};
use crate::figures::{Figures, Promise};
use crate::life::Lived;
use crate::plan::{Database, Kind};
use crate::restored;
use crate::site::{Occurred, Site, WINDOW};
use crate::store::{Accepted, LivedAt, Platform, many};
use crate::visitors::Visitors;
use crate::watch::{Watch, list};
use domain::CollapseKey;
use domain::event::{PURCHASE_UPDATED, REVENUE_ADJUSTED};
use domain::user::TRANSFERS;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use system_tests::receiver::Receiver;
use system_tests::wait;
use tokio::time::Instant;

/// Events later than this were late before a fault began.
const LATE: Duration = Duration::from_secs(5);

/// The evidence for judging a round.
pub struct Evidence {
    pub accepted: Vec<Accepted>,
    pub lived: Result<Vec<LivedAt>, String>,
    /// Devices of the app whose endpoint is down, if any.
    pub visitors: Option<Visitors>,
    pub watch: Watch,
    /// Time after which missing work counts as lost.
    pub timeout: Duration,
}

/// Judges a healed round; returns everything that is broken.
pub async fn judge(site: &mut Site, evidence: Evidence, figures: &mut Figures) -> Vec<String> {
    let Evidence {
        accepted,
        lived,
        visitors,
        watch,
        timeout,
    } = evidence;
    site.record
        .faults
        .iter()
        .for_each(|fault| figures.occurred(fault.kind));
    site.record
        .kills
        .iter()
        .for_each(|(place, count)| figures.killed(place, *count));
    let mut broken = std::mem::take(&mut site.record.findings);
    let mut lived = lived.unwrap_or_else(|refused| {
        broken.push(format!("I1: {refused}"));
        Vec::new()
    });
    let settled = match outcomes(site, &accepted, timeout).await {
        Ok(settled) => {
            figures.judged(Promise::I1, accepted.len());
            figures.judged(Promise::I8, accepted.len());
            Some(settled)
        }
        Err(lost) => {
            broken.push(lost);
            None
        }
    };
    watch.enable(&site.endpoints.ids).await;
    // After a first finding much is lost, and one cause is enough.
    let rest = |broken: &[String]| {
        if broken.is_empty() {
            timeout
        } else {
            Duration::ZERO
        }
    };
    broken.extend(
        arrived(site, visitors.as_ref(), rest(&broken), figures)
            .await
            .err(),
    );
    if let Some(settled) = settled {
        note_lags(site, &accepted, &settled, figures);
    }
    note_purchases(site, &lived, figures);
    match watch.finish().await {
        Ok(seen) => {
            figures.judged(Promise::I2, seen.watched());
            let is_idle = seen.watched() == 0;
            broken
                .extend(is_idle.then(|| "no delivery was observed twice since its end".to_owned()));
            broken.extend(seen.broken);
        }
        Err(why) => broken.push(format!("I2: {why}")),
    }
    if site.plan.database == Database::Sqlite && broken.is_empty() {
        match restored::restore(site, &mut lived, timeout).await {
            Ok(0) => {}
            Ok(_) => figures.occurred(Kind::Restored),
            Err(why) => broken.push(why),
        }
    }
    broken.extend(requests(site, figures));
    broken.extend(lives(site, &lived, &accepted, rest(&broken)).await);
    broken.extend(analytics(site, rest(&broken)).await);
    let connections = site.endpoints.forbidden.connections();
    if connections > 0 {
        broken.push(format!(
            "I6: {connections} connections to a forbidden address"
        ));
    }
    broken.extend(site.rvs.lock().await.verdict().err());
    // Even after a finding: this also marks the world as checked.
    let last = site.world.verdict(rest(&broken)).await;
    // No process has been restarted since the end of the load.
    broken.extend(site.exits());
    // A broken promise usually leaves something pending, which is not a second finding.
    broken.extend(last.err().filter(|_| broken.is_empty()));
    broken
}

/// The purchase and revision of each message's notification.
type Settled = BTreeMap<String, (String, Option<i64>)>;

/// Checks I1 and I8: each accepted message is stored, with one outcome for each of its notifications. Returns the
/// purchase and revision of each message.
async fn outcomes(
    site: &Site,
    accepted: &[Accepted],
    timeout: Duration,
) -> Result<Settled, String> {
    let api = &site.world.api;
    let open = wait::within(timeout, "the outcomes of all notifications", async || {
        let open = api
            .try_get("/v1/notifications?outcome=open&limit=1")
            .await?;
        let first = open.body["items"]
            .as_array()
            .ok_or_else(|| format!("{open:?}"))?
            .first()
            .cloned();
        first.map_or(Ok(()), |first| Err(first.to_string()))
    });
    open.await.map_err(|late| format!("I1: {late}"))?;
    let mut found = BTreeMap::<String, Vec<Value>>::new();
    for one in list(api, "/v1/notifications?limit=500").await? {
        found
            .entry(one["message_id"].as_str().unwrap_or_default().to_owned())
            .or_default()
            .push(one);
    }
    let mut settled = Settled::new();
    for message in accepted {
        let Some(all) = found.get(&message.message_id) else {
            return Err(format!("I8: {message:?} was answered 200, and is lost"));
        };
        let purchases: BTreeSet<String> = all
            .iter()
            .map(|one| one["collapse_key"].to_string())
            .collect();
        if purchases.len() != all.len() {
            return Err(format!("I1: a message has several outcomes: {all:?}"));
        }
        let key = CollapseKey::of(message.platform_id, &message.receipt_id).to_string();
        let own = all.iter().find(|one| one["collapse_key"] == *key);
        let (Some(own), true) = (own, all.iter().all(|one| one["outcome"].is_string())) else {
            return Err(format!("I1: {message:?} has no outcome: {all:?}"));
        };
        settled.insert(message.message_id.clone(), (key, own["revision"].as_i64()));
    }
    Ok(settled)
}

/// Checks I5: everything arrives; events for endpoints that are up arrive before the failing one is back.
async fn arrived(
    site: &mut Site,
    visitors: Option<&Visitors>,
    timeout: Duration,
    figures: &mut Figures,
) -> Result<(), String> {
    let Some(visitors) = visitors else {
        return newest(site, |_| true, timeout, figures)
            .await
            .map_err(|late| format!("I5: {late}"));
    };
    let others = newest(site, |app| app != DOWN, timeout, figures).await;
    others.map_err(|late| format!("I5: while the endpoint of another app is down: {late}"))?;
    let accepted = visitors.accepted();
    if accepted != visitors.events {
        return Err(format!(
            "I1: {accepted} of {} events of devices were accepted in time",
            visitors.events
        ));
    }
    let pending = pending(site, timeout).await?;
    figures.loaded("events pending for an endpoint that is down", pending);
    println!("{pending} events are pending for the endpoint that was down; it is back");
    site.bring_back().await;
    let own = newest(site, |app| app == DOWN, timeout, figures).await;
    own.map_err(|late| format!("I5: for an endpoint that was down: {late}"))?;
    let receiver = site.endpoints.own[DOWN].receiver(&site.world);
    let of_devices = wait::within(
        timeout,
        "the events of devices at an endpoint that was down",
        async || {
            let found = receiver.device_events().len();
            if found == accepted {
                Ok(())
            } else {
                Err(format!("{found} of {accepted}"))
            }
        },
    );
    of_devices.await.map_err(|late| format!("I5: {late}"))
}

/// Waits until nothing is pending for the other endpoints; returns the number of events that are pending for the
/// endpoint that is down.
async fn pending(site: &Site, timeout: Duration) -> Result<usize, String> {
    let down = &site.endpoints.own[DOWN].destination_id;
    let excepted = [down, &site.endpoints.forbidden_id].map(String::as_str);
    wait::within(
        timeout,
        "I5: what is pending while the endpoint of another app is down",
        async || {
            let of_purchases =
                list(&site.world.api, "/v1/deliveries?status=pending&limit=500").await?;
            let is_other = |one: &&Value| {
                !excepted.contains(&one["destination_id"].as_str().unwrap_or_default())
            };
            if let Some(other) = of_purchases.iter().find(is_other) {
                return Err(other.to_string());
            }
            let path = format!("/v1/device-events?status=pending&destination_id={down}&limit=500");
            let of_devices = list(&site.world.api, &path).await?;
            Ok(of_devices.len()
                + of_purchases
                    .iter()
                    .filter(|one| one["destination_id"] == **down)
                    .count())
        },
    )
    .await
}

/// Checks I5: the last acknowledged revision of each purchase of these apps is its newest.
async fn newest(
    site: &Site,
    is_wanted: impl Fn(usize) -> bool,
    timeout: Duration,
    figures: &mut Figures,
) -> Result<(), String> {
    for platform in site
        .platforms
        .iter()
        .filter(|platform| is_wanted(platform.app))
    {
        let receiver = receiver(site, platform);
        let path = format!("/v1/purchases?platform_id={}&limit=500", platform.id);
        let count = wait::within(
            timeout,
            "the newest revision of each purchase at its endpoint",
            async || {
                let acked = receiver.revisions_by_key();
                let purchases = list(&site.world.api, &path).await?;
                let is_late = |one: &&Value| {
                    let last = one["collapse_key"]
                        .as_str()
                        .and_then(|key| acked.get(key)?.last().copied());
                    last.unwrap_or_default() != one["revision"].as_i64().unwrap_or_default()
                };
                match purchases.iter().find(is_late) {
                    Some(late) => Err(format!(
                        "{:?} of {late}",
                        late["collapse_key"].as_str().map(|key| acked.get(key))
                    )),
                    None => Ok(purchases.len()),
                }
            },
        );
        figures.judged(Promise::I5, count.await?);
    }
    Ok(())
}

fn receiver<'a>(site: &'a Site, platform: &Platform) -> &'a Receiver {
    site.endpoints.own[platform.app].receiver(&site.world)
}

/// Checks I3, I4 and I7, signatures and schemas in the requests at the endpoints.
fn requests(site: &Site, figures: &mut Figures) -> Vec<String> {
    let mut broken = Vec::new();
    for endpoint in &site.endpoints.own {
        let receiver = endpoint.receiver(&site.world);
        figures.judged(
            Promise::I3,
            receiver.revisions_by_key().values().map(Vec::len).sum(),
        );
        figures.judged(Promise::I4, receiver.count());
        figures.judged(Promise::I7, receiver.count());
        broken.extend(receiver.verdict().err());
        broken.extend(receiver.check_no_duplicates().err());
    }
    let mut bodies = BTreeMap::<String, Vec<u8>>::new();
    let attacked = site.endpoints.hostile.requests();
    figures.judged(Promise::I4, attacked.len());
    for request in attacked {
        let id = request.header("webhook-id").to_owned();
        if *bodies
            .entry(id.clone())
            .or_insert_with(|| request.body.clone())
            != request.body
        {
            broken.push(format!(
                "I4: one webhook-id, two bodies: {id} at the hostile endpoint"
            ));
        }
    }
    let redirects = |one: &system_tests::receiver::Received| one.status == Some(307);
    let all = site
        .endpoints
        .own
        .iter()
        .flat_map(|endpoint| endpoint.receiver(&site.world).all());
    figures.judged(Promise::I6, all.filter(redirects).count());
    broken
}

/// Checks that the last announced state is the one that the store shows, that nothing was announced more often than it
/// happened and, where no notification is lost, that each beginning and end was announced.
async fn lives(
    site: &Site,
    lived: &[LivedAt],
    accepted: &[Accepted],
    timeout: Duration,
) -> Vec<String> {
    let mut broken = Vec::new();
    for (place, receipts) in lived {
        let platform = &site.platforms[*place];
        for (receipt_id, lived) in receipts {
            let timeout = if broken.is_empty() {
                timeout
            } else {
                Duration::ZERO
            };
            broken.extend(
                life(site, platform, receipt_id, lived, accepted, timeout)
                    .await
                    .err(),
            );
        }
    }
    broken
}

async fn life(
    site: &Site,
    platform: &Platform,
    receipt_id: &str,
    lived: &Lived,
    accepted: &[Accepted],
    timeout: Duration,
) -> Result<(), String> {
    let receiver = receiver(site, platform);
    let key = CollapseKey::of(platform.id, receipt_id).to_string();
    let (is_active, renews) = (lived.is_active(api::clock::now()), lived.shown.renews());
    let what = format!("is_active {is_active} and is_auto_renewable {renews} of {receipt_id}");
    wait::within(timeout, &what, async || {
        let newest = receiver
            .about(&key)
            .into_iter()
            .filter(|one| one.is_acked())
            .max_by_key(|one| one.revision());
        let newest = newest.ok_or_else(|| "nothing".to_owned())?.body;
        let shown = &newest["data"]["is_auto_renewable"];
        // Without an answer of the store, settle cannot know from the beginning alone whether the purchase renews.
        let is_unknown = !platform.is_verified && shown.is_null() && renews;
        let is_right = newest["data"]["is_active"] == is_active && (*shown == renews || is_unknown);
        if is_right {
            Ok(())
        } else {
            Err(newest.to_string())
        }
    })
    .await?;
    if !platform.is_verified {
        let is_begun_first = is_begun_first(accepted, platform, receipt_id);
        wait::within(
            timeout,
            &format!("the events of {receipt_id}, of {:?}", lived.events),
            async || {
                let announced = announced(receiver, receipt_id);
                let missing = lived.missing(&announced, is_begun_first);
                missing.map_or(Ok(()), |event| {
                    Err(format!("{event} is not in {announced:?}"))
                })
            },
        )
        .await?;
    }
    let announced = announced(receiver, receipt_id);
    match lived.too_often(&announced).filter(|_| platform.is_verified) {
        Some(event) => {
            let sent = notifications(site, &key).await;
            let events = &lived.events;
            Err(format!(
                "{receipt_id}: {event} is too much in {announced:?} of {events:?}: {sent}"
            ))
        }
        None => Ok(()),
    }
}

/// Returns the types of the acknowledged events of a receipt, each event once.
fn announced(receiver: &Receiver, receipt_id: &str) -> Vec<String> {
    let received = receiver.of_receipt(receipt_id);
    let own = received.iter().filter(|one| one.is_acked());
    // A repeated request is the same event.
    let mut ids = BTreeSet::new();
    let once = own.filter(|one| one.collapse_key().is_empty() && ids.insert(one.event_id()));
    once.map(|one| one.event_type().to_owned()).collect()
}

/// Returns whether the first purchase of a receipt was accepted before any other notification about it was sent.
fn is_begun_first(accepted: &[Accepted], platform: &Platform, receipt_id: &str) -> bool {
    let own = accepted
        .iter()
        .filter(|one| one.platform_id == platform.id && one.receipt_id == receipt_id);
    let (begun, others): (Vec<_>, Vec<_>) =
        own.partition(|one| one.kind == "SUBSCRIPTION_PURCHASED");
    let begun_at = begun.iter().map(|one| one.at).min();
    begun_at.is_some_and(|begun_at| others.iter().all(|one| one.sent_at > begun_at))
}

/// Returns a purchase's notifications and their outcomes, as text for a finding.
async fn notifications(site: &Site, key: &str) -> String {
    let all = list(&site.world.api, "/v1/notifications?limit=500")
        .await
        .unwrap_or_default();
    let own = all.iter().rev().filter(|one| one["collapse_key"] == *key);
    let line = |one: &Value| {
        let [accepted_at, kind, outcome, revision] =
            ["accepted_at", "type", "outcome", "revision"].map(|field| one[field].to_string());
        format!("\n  {accepted_at} {kind} {outcome} {revision}")
    };
    own.map(line).collect()
}

/// Checks that Amplitude counts each user event that the same app's webhook has acknowledged, once.
async fn analytics(site: &Site, timeout: Duration) -> Vec<String> {
    let fake = &site.endpoints.analytics;
    let mut broken: Vec<String> = fake.verdict();
    let is_of_user =
        |event_type: &str| event_type.starts_with("user.") && !TRANSFERS.contains(&event_type);
    let arrived = wait::within(timeout, "the same events in Amplitude", async || {
        let received = site.endpoints.own[1].receiver(&site.world).all();
        let sent = received
            .iter()
            .filter(|one| one.is_acked() && is_of_user(one.event_type()));
        let sent: BTreeSet<String> = sent.map(|one| one.event_id().to_owned()).collect();
        let counted = fake
            .events(KEY)
            .into_iter()
            .map(|one| one.event)
            .filter(|event| {
                event["event_type"] != PURCHASE_UPDATED && event["event_type"] != REVENUE_ADJUSTED
            });
        let counted: Vec<String> = counted
            .map(|event| event["insert_id"].as_str().unwrap_or_default().to_owned())
            .collect();
        let once: BTreeSet<String> = counted.iter().cloned().collect();
        let odd: Vec<&String> = sent.symmetric_difference(&once).collect();
        match odd.first() {
            Some(first) => {
                let one = received
                    .iter()
                    .find(|one| one.event_id() == **first)
                    .map(|one| &one.body);
                Err(format!(
                    "{} of {} are not in both, such as {first}: {one:?}",
                    odd.len(),
                    sent.len()
                ))
            }
            None => Ok(counted.len() - once.len()),
        }
    });
    match arrived.await {
        Ok(0) => {}
        Ok(doubled) => broken.push(format!("Amplitude counted {doubled} events twice")),
        Err(late) => broken.push(late),
    }
    broken
}

/// The times of one revision's events.
struct Way {
    /// When the revision's last notification was accepted.
    last: Instant,
    arrived: Instant,
}

impl Way {
    /// Returns the end of the revision's window.
    fn due(&self) -> Instant {
        self.last + WINDOW
    }

    /// Returns how much a fault delayed the event: from the end of its window or, if later, from the beginning of the
    /// fault. `None` if the event was not due during the fault, or was already late because of another.
    fn lag(&self, fault: &Occurred) -> Option<Duration> {
        let is_concerned = self.due() < fault.over
            && self.due() + LATE > fault.began
            && self.arrived > fault.began;
        is_concerned.then(|| {
            self.arrived
                .saturating_duration_since(fault.began.max(self.due()))
        })
    }
}

/// Records for each fault how late the events due during it arrived. Delays of events for an endpoint that is down are
/// attributed to that outage alone.
fn note_lags(site: &Site, accepted: &[Accepted], settled: &Settled, figures: &mut Figures) {
    let is_down = site.plan.loads.outage.is_some();
    let others = ways(site, accepted, settled, |app| app != DOWN || !is_down);
    let of_down = ways(site, accepted, settled, |app| app == DOWN && is_down);
    others
        .iter()
        .for_each(|way| figures.arrived(way.arrived.saturating_duration_since(way.due())));
    for fault in &site.record.faults {
        let ways = if fault.kind == Kind::Down {
            &of_down
        } else {
            &others
        };
        figures.lagged(
            fault.kind,
            ways.iter().filter_map(|way| way.lag(fault)).collect(),
        );
    }
}

/// Returns the times of these apps' events.
fn ways(
    site: &Site,
    accepted: &[Accepted],
    settled: &Settled,
    is_wanted: impl Fn(usize) -> bool,
) -> Vec<Way> {
    let own = site
        .endpoints
        .own
        .iter()
        .enumerate()
        .filter(|(app, _)| is_wanted(*app));
    let arrivals: Vec<_> = own
        .map(|(_, one)| arrivals(one.receiver(&site.world)))
        .collect();
    let mut ways = BTreeMap::<(&str, i64), Way>::new();
    for message in accepted {
        let Some((key, Some(revision))) = settled.get(&message.message_id) else {
            continue;
        };
        let arrived = arrivals
            .iter()
            .filter_map(|of_app| of_app.get(key.as_str())?.range(revision..).next());
        let Some((_, arrived)) = arrived.min_by_key(|(_, at)| **at) else {
            continue;
        };
        let way = ways.entry((key, *revision)).or_insert(Way {
            last: message.at,
            arrived: *arrived,
        });
        way.last = way.last.max(message.at);
    }
    // An event that arrived before its last message contained nothing new.
    ways.into_values()
        .filter(|way| way.arrived > way.last)
        .collect()
}

/// Records the number of purchases of the customer with many.
fn note_purchases(site: &Site, lived: &[LivedAt], figures: &mut Figures) {
    let customer = many(site.plan.seed);
    let receipts = lived.iter().flat_map(|(_, receipts)| receipts.values());
    let own = receipts
        .filter(|lived| lived.shown.app_user_id == customer)
        .count();
    if own > 0 {
        figures.loaded("purchases of one customer", own);
    }
}

/// Returns when each revision was first acknowledged, by purchase.
fn arrivals(receiver: &Receiver) -> BTreeMap<String, BTreeMap<i64, Instant>> {
    let mut arrivals = BTreeMap::<String, BTreeMap<i64, Instant>>::new();
    for one in receiver
        .all()
        .iter()
        .filter(|one| one.is_acked() && !one.collapse_key().is_empty())
    {
        let of_purchase = arrivals.entry(one.collapse_key().to_owned()).or_default();
        of_purchase
            .entry(one.revision())
            .or_insert(one.finished_at.unwrap_or(one.began));
    }
    arrivals
}

#[cfg(test)]
mod tests {
    use super::{Accepted, Platform, is_begun_first};
    use domain::PlatformId;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn a_beginning_is_first_if_accepted_before_all_else_was_sent() {
        let (id, began) = (PlatformId::new(api::clock::random_uuid()), Instant::now());
        let platform = Platform {
            id,
            app: 0,
            package_name: String::new(),
            urls: Vec::new(),
            is_verified: false,
        };
        let accepted = |kind: &str, from: u64, to: u64| Accepted {
            message_id: String::new(),
            platform_id: id,
            receipt_id: "receipt".to_owned(),
            kind: kind.to_owned(),
            sent_at: began + Duration::from_secs(from),
            at: began + Duration::from_secs(to),
        };
        let [bought, off] = ["SUBSCRIPTION_PURCHASED", "SUBSCRIPTION_AUTO_RENEWAL_OFF"];
        let is_first = |all: &[Accepted]| is_begun_first(all, &platform, "receipt");
        assert!(is_first(&[accepted(bought, 0, 1), accepted(off, 2, 3)]));
        assert!(!is_first(&[accepted(bought, 0, 3), accepted(off, 2, 3)]));
        assert!(!is_first(&[accepted(off, 2, 3)]));
    }
}
