//! The promises that share one world and run one after the other.

use super::Analysts;
use super::{chaos, events, order};

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_counted_once_in_amplitude_whatever_it_answers() {
    let mut own = Analysts::start("info", &events::CHOSEN).await;
    events::every_event_has_its_form(&mut own).await;
    order::an_older_event_leaves_the_profile_alone(&mut own).await;
    order::one_throttled_user_delays_nobody_else(&mut own).await;
    chaos::faults_by_chance_cost_nothing(&mut own).await;
    chaos::what_was_never_answered_is_sent_again_and_counted_once(&mut own).await;
    own.finish().await;
}
