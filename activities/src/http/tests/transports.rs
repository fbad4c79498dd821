//! Messages over transports: the addresses that they reach, and how replies are converted.

use super::super::{Http, Parts, Transport};
use super::allowing_this_machine;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use protocols::http::{Failure, Rules};
use protocols::outgoing::{Incoming, Outgoing};
use protocols::wire::{Message, Reply};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use storage::AttemptClass;

/// A transport that records where it sends. Its reply is the message's payload; for an empty payload it hangs.
#[derive(Default)]
struct Echo(Mutex<Vec<SocketAddr>>);

impl Transport for Echo {
    fn scheme(&self) -> &'static str {
        "echo"
    }

    fn send<'a>(
        &'a self,
        message: &'a Message,
        addresses: &'a [SocketAddr],
    ) -> BoxFuture<'a, Result<Reply, Failure>> {
        self.0.lock().unwrap().extend(addresses);
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        match text.as_str() {
            "" => std::future::pending().boxed(),
            "reset" => async { Err(Failure::Reset) }.boxed(),
            _ => async { Ok(Reply::Answer { status: 202, text }) }.boxed(),
        }
    }
}

/// Returns the reply to a message, and the addresses to which it was sent.
async fn reply(rules: Rules, address: &str, payload: &str) -> (Reply, Vec<SocketAddr>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let echo: &'static Echo = Box::leak(Box::default());
    let parts = Parts {
        transports: vec![echo],
        total: Duration::from_millis(200),
        ..Parts::usual()
    };
    let message = Message {
        address: address.parse().unwrap(),
        payload: payload.as_bytes().to_vec(),
        app: None,
    };
    let http = Http::with_parts(rules, parts);
    let Incoming::Wire(reply) = http.deliver(Outgoing::from(message)).await else {
        panic!("a reply over another protocol");
    };
    let reached = std::mem::take(&mut *echo.0.lock().unwrap());
    (reply, reached)
}

#[tokio::test]
async fn a_message_goes_to_the_checked_addresses_and_is_answered() {
    let long = "a".repeat(5000);
    for (sent, answered) in [("taken", "taken"), (long.as_str(), &long[..4096])] {
        let (reply, reached) = reply(allowing_this_machine(), "echo://127.0.0.1:9/x", sent).await;
        let text = answered.to_owned();
        assert_eq!(reply, Reply::Answer { status: 202, text });
        assert_eq!(reached, ["127.0.0.1:9".parse().unwrap()]);
    }
}

#[tokio::test]
async fn a_message_is_sent_under_the_rules_of_requests() {
    let local = allowing_this_machine();
    let denying = Rules {
        denied_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..local.clone()
    };
    for (rules, address, class) in [
        (
            &Rules::default(),
            "echo://127.0.0.1:443",
            AttemptClass::ForbiddenAddress,
        ),
        (
            &Rules::default(),
            "echo://[::1]:443",
            AttemptClass::ForbiddenAddress,
        ),
        (
            &Rules::default(),
            "echo://169.254.169.254:443",
            AttemptClass::ForbiddenAddress,
        ),
        (
            &Rules::default(),
            "echo://8.8.8.8:9",
            AttemptClass::InvalidUrl,
        ),
        (
            &denying,
            "echo://127.0.0.1:9",
            AttemptClass::ForbiddenAddress,
        ),
        (&local, "echo://127.0.0.1", AttemptClass::InvalidUrl),
        (
            &local,
            "echo://me:hunter2@127.0.0.1:9",
            AttemptClass::InvalidUrl,
        ),
        (&local, "pigeon://127.0.0.1:9", AttemptClass::InvalidUrl),
    ] {
        let (reply, reached) = reply(rules.clone(), address, "taken").await;
        let failed = matches!(&reply, Reply::Failure { class: found, .. } if *found == class);
        assert!(failed && reached.is_empty(), "{address}: {reply:?}");
    }
}

#[tokio::test]
async fn a_transport_that_fails_or_hangs_has_a_failure_as_reply() {
    for (sent, class) in [("reset", AttemptClass::Reset), ("", AttemptClass::Timeout)] {
        let (reply, reached) = reply(allowing_this_machine(), "echo://127.0.0.1:9", sent).await;
        let failed = matches!(&reply, Reply::Failure { class: found, .. } if *found == class);
        assert!(failed && reached.len() == 1, "{sent}: {reply:?}");
    }
}
