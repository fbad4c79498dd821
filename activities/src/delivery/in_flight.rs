//! The subjects of the requests that this process has in flight. A lease ends by the database's clock. If that clock is
//! changed, the lease can appear to end while its request is still in flight; this process must then not send another
//! request about the subject.

use domain::{CollapseKey, DestinationId, UserId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage::fault;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a request waits for the previous one about its subject. That one may be recorded, and the lane leased for
/// the new one, a moment before it ends in this process.
const MOMENT: Duration = Duration::from_millis(500);

/// The requests in flight. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    all: Mutex<BTreeSet<(DestinationId, RequestSubject)>>,
    freed: Notify,
}

/// The subject of a request to a destination. At most one request about each subject is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RequestSubject {
    Purchase(CollapseKey),
    User(UserId),
}

/// A request in flight. Dropping it ends the request.
#[derive(Debug)]
pub struct Request {
    all: InFlight,
    own: Vec<(DestinationId, RequestSubject)>,
}

impl InFlight {
    /// Begins a request about a purchase and possibly its user, once no other request about either of them is in
    /// flight. Returns `None` if one remains in flight for longer than `MOMENT`.
    pub async fn begin(
        &self,
        destination: DestinationId,
        key: CollapseKey,
        user: Option<UserId>,
    ) -> Option<Request> {
        let begun = async {
            loop {
                let freed = self.0.freed.notified();
                if let Some(begun) = self.begin_now(destination, key, user) {
                    return begun;
                }
                freed.await;
            }
        };
        timeout(MOMENT, begun).await.ok()
    }

    fn begin_now(
        &self,
        destination: DestinationId,
        key: CollapseKey,
        user: Option<UserId>,
    ) -> Option<Request> {
        let subjects = [
            Some(RequestSubject::Purchase(key)),
            user.map(RequestSubject::User),
        ];
        let own: Vec<_> = subjects
            .into_iter()
            .flatten()
            .map(|subject| (destination, subject))
            .collect();
        let mut all = self.lock();
        if own.iter().any(|one| all.contains(one)) && !fault::is_planted("lease.ignored") {
            return None;
        }
        all.extend(own.iter().copied());
        Some(Request {
            all: self.clone(),
            own,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(DestinationId, RequestSubject)>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        for one in &self.own {
            all.remove(one);
        }
        drop(all);
        self.all.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn one_request_about_a_purchase_or_user_is_in_flight() {
        let in_flight = InFlight::default();
        let [hook, other] = [1, 2].map(|id| DestinationId::new(Uuid::from_u128(id)));
        let [one, two] = [4, 5].map(|id| CollapseKey::new(Uuid::from_u128(id)));
        let user = Some(UserId::new(Uuid::from_u128(3)));
        let first = in_flight
            .begin_now(hook, one, user)
            .expect("nothing is in flight");
        assert!(
            in_flight.begin_now(hook, one, None).is_none(),
            "the purchase"
        );
        assert!(in_flight.begin_now(hook, two, user).is_none(), "the user");
        assert!(
            in_flight.begin_now(hook, two, None).is_some(),
            "another purchase"
        );
        assert!(
            in_flight.begin_now(other, one, user).is_some(),
            "another destination"
        );
        drop(first);
        assert!(in_flight.begin_now(hook, one, user).is_some(), "it ended");
    }

    #[tokio::test]
    async fn a_request_waits_a_moment_for_the_one_that_was_recorded() {
        let in_flight = InFlight::default();
        let hook = DestinationId::new(Uuid::from_u128(1));
        let [one, two] = [4, 5].map(|id| CollapseKey::new(Uuid::from_u128(id)));
        let user = Some(UserId::new(Uuid::from_u128(3)));
        let first = in_flight
            .begin(hook, one, user)
            .await
            .expect("nothing is in flight");
        assert!(
            in_flight.begin(hook, two, user).await.is_none(),
            "its request goes on"
        );
        let (next, ()) = tokio::join!(in_flight.begin(hook, two, user), async { drop(first) });
        assert!(next.is_some(), "it ended meanwhile");
    }
}
