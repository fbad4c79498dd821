//! Names whose servers never answer: their lookups are limited in number, and waiting for a permit ends in time.

use super::{Http, answered, class, permissive, post};
use crate::http::Lookup;
use crate::http::lookup::bounded;
use futures::FutureExt as _;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(60);
const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A resolver that reports each call and returns when the test lets it.
fn hanging(permits: &Arc<Semaphore>) -> (Lookup, Receiver<String>, Sender<()>) {
    let (begins, began) = channel();
    let (go_on, goes_on) = channel();
    let goes_on = Mutex::new(goes_on);
    let lookup = bounded(permits.clone(), move |name| {
        begins.send(name.to_owned()).unwrap();
        goes_on.lock().unwrap().recv().unwrap();
        Ok(vec![LOCAL])
    });
    (lookup, began, go_on)
}

#[tokio::test]
async fn a_place_is_taken_until_the_resolver_returns() {
    let permits = Arc::new(Semaphore::new(1));
    let (lookup, began, go_on) = hanging(&permits);
    assert!(lookup("gone.example".to_owned()).now_or_never().is_none(), "it waits, and goes");
    assert_eq!(began.recv_timeout(SOON).unwrap(), "gone.example");
    assert_eq!(permits.available_permits(), 0);
    assert!(lookup("late.example".to_owned()).now_or_never().is_none());
    assert!(began.try_recv().is_err(), "no place, no lookup");
    go_on.send(()).unwrap();
    drop(timeout(SOON, permits.acquire()).await.expect("the permit is free").unwrap());
    let next = lookup("next.example".to_owned());
    go_on.send(()).unwrap();
    assert_eq!(timeout(SOON, next).await.unwrap().unwrap(), [LOCAL]);
    assert_eq!(began.recv_timeout(SOON).unwrap(), "next.example", "an abandoned lookup does not begin");
}

#[tokio::test]
async fn a_lookup_without_a_place_in_time_is_a_dns_failure() {
    let server = super::Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let url = format!("http://hook.example.com:{}/", server.port());
    let permits = Arc::new(Semaphore::new(0));
    let http = Http { lookup: bounded(permits.clone(), |_| Ok(vec![LOCAL])), ..permissive() };
    assert_eq!(class(&http.send(post(&url)).await), "dns");
    permits.add_permits(1);
    assert_eq!(http.send(post(&url)).await, answered(200, ""));
}
