//! Names whose servers never respond: the number of their lookups is limited, in total and per name, and waiting for a
//! slot ends in time.

use super::{Http, answered, class, permissive, post};
use crate::http::lookup::bounded;
use crate::http::slots::Slots;
use crate::http::{Lookup, LookupRequest};
use domain::AppId;
use futures::FutureExt as _;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(180);
/// A budget that no test exhausts.
const LONG: Duration = Duration::from_secs(3600);
const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn wanted(name: &str) -> LookupRequest {
    LookupRequest {
        name: name.to_owned(),
        app: None,
    }
}

/// Returns a resolver that reports each call for a name of `hanging.example` and returns only when the test allows it;
/// other names are resolved at once.
fn hanging(slots: &Slots) -> (Lookup, Receiver<String>, Sender<()>) {
    let (begins, began) = channel();
    let (go_on, goes_on) = channel();
    let goes_on = Mutex::new(goes_on);
    let lookup = bounded(slots.clone(), LONG, move |name| {
        if name.ends_with("hanging.example") {
            let _ = begins.send(name.to_owned());
            // At the end of the test, the call is not released.
            let _ = goes_on.lock().unwrap().recv();
        }
        Ok(vec![LOCAL])
    });
    (lookup, began, go_on)
}

#[tokio::test]
async fn a_place_is_taken_until_the_resolver_returns() {
    let slots = Slots::new(1);
    let (lookup, began, go_on) = hanging(&slots);
    assert!(
        lookup(wanted("gone.hanging.example"))
            .now_or_never()
            .is_none(),
        "it waits, and goes"
    );
    assert_eq!(began.recv_timeout(SOON).unwrap(), "gone.hanging.example");
    assert!(slots.take(&wanted("free")).now_or_never().is_none());
    assert!(
        lookup(wanted("late.hanging.example"))
            .now_or_never()
            .is_none()
    );
    assert!(began.try_recv().is_err(), "no place, no lookup");
    go_on.send(()).unwrap();
    drop(
        timeout(SOON, slots.take(&wanted("free")))
            .await
            .expect("the slot is free")
            .unwrap(),
    );
    let next = lookup(wanted("next.hanging.example"));
    go_on.send(()).unwrap();
    assert_eq!(timeout(SOON, next).await.unwrap().unwrap(), [LOCAL]);
    assert_eq!(
        began.recv_timeout(SOON).unwrap(),
        "next.hanging.example",
        "an abandoned lookup does not begin"
    );
}

#[tokio::test]
async fn a_lookup_that_hangs_gives_its_slot_back_in_time() {
    let slots = Slots::new(1);
    let (begins, began) = channel();
    let (go_on, goes_on) = channel::<()>();
    let goes_on = Mutex::new(goes_on);
    let lookup = bounded(slots.clone(), Duration::from_millis(10), move |_| {
        let _ = begins.send(());
        let _ = goes_on.lock().unwrap().recv();
        Ok(vec![LOCAL])
    });
    assert!(
        timeout(SOON, lookup(wanted("hanging.example")))
            .await
            .unwrap()
            .is_err(),
        "its budget is over"
    );
    began.recv_timeout(SOON).unwrap();
    drop(
        timeout(SOON, slots.take(&wanted("free")))
            .await
            .expect("the slot is free")
            .unwrap(),
    );
    drop(go_on);
}

#[tokio::test]
async fn a_lookup_without_a_place_in_time_is_a_dns_failure() {
    let server = super::Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let url = format!("http://hook.example.com:{}/", server.port());
    let slots = Slots::new(1);
    let only = slots.take(&wanted("other")).await.unwrap();
    let http = Http {
        lookup: bounded(slots, LONG, |_| Ok(vec![LOCAL])),
        ..permissive()
    };
    assert_eq!(class(&http.send(post(&url)).await), "dns");
    drop(only);
    assert_eq!(http.send(post(&url)).await, answered(200, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_name_server_leaves_slots_for_other_destinations() {
    let server = super::Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let (lookup, began, go_on) = hanging(&Slots::new(64));
    let http = Http {
        lookup,
        ..permissive()
    };
    let url = |host: &str| format!("http://{host}:{}/", server.port());
    let slow = (0..200).map(|_| {
        let (http, request) = (http.clone(), post(&url("hook.hanging.example")));
        tokio::spawn(async move { http.send(request).await })
    });
    let slow: Vec<_> = slow.collect();
    let (began, lookups) = tokio::task::spawn_blocking(move || {
        let lookups = (0..8).filter(|_| began.recv_timeout(SOON).is_ok()).count();
        (began, lookups)
    })
    .await
    .unwrap();
    for other in 0..100 {
        let reply = http
            .send(post(&url(&format!("hook{other}.example.com"))))
            .await;
        assert_eq!(reply, answered(200, ""), "{other}");
    }
    assert_eq!(
        (lookups, began.try_recv().ok()),
        (8, None),
        "an eighth of the slots"
    );
    drop(go_on);
    for request in slow {
        request.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slow_names_of_one_app_leave_slots_for_others() {
    let server = super::Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let (lookup, began, go_on) = hanging(&Slots::new(64));
    let http = Http {
        lookup,
        ..permissive()
    };
    let [slow, other] = [1, 2].map(|number| AppId::new(uuid::Uuid::from_u128(number)));
    let url = |host: &str| format!("http://{host}:{}/", server.port());
    // Every subdomain is another name.
    let requests = (0..200).map(|number| {
        let (http, request) = (
            http.clone(),
            post(&url(&format!("n{number}.hanging.example"))).of(slow),
        );
        tokio::spawn(async move { http.send(request).await })
    });
    let requests: Vec<_> = requests.collect();
    let (began, lookups) = tokio::task::spawn_blocking(move || {
        let lookups = (0..32).filter(|_| began.recv_timeout(SOON).is_ok()).count();
        (began, lookups)
    })
    .await
    .unwrap();
    for number in 0..100 {
        let reply = http
            .send(post(&url(&format!("hook{number}.example.com"))).of(other))
            .await;
        assert_eq!(reply, answered(200, ""), "{number}");
    }
    assert_eq!(
        (lookups, began.try_recv().ok()),
        (32, None),
        "half of the slots"
    );
    drop(go_on);
    for request in requests {
        request.abort();
    }
}
