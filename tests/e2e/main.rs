//! End-to-end tests: signed messages in, verified webhooks out, with a real Temporal Server; processes, Temporal and
//! receivers are killed on the way.

/// Makes each story a test with each kind of quiet window.
macro_rules! for_both_windows {
    ($($story:ident),+ $(,)?) => {
        mod timer {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::$story(workflows::window::QuietWindow::Timer).await;
            })+
        }
        mod start_delay {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                super::$story(workflows::window::QuietWindow::StartDelay).await;
            })+
        }
    };
}

mod acts;
mod admin;
mod amplitude;
mod burst;
mod cancelled;
mod catalogue;
mod claims;
mod cost;
mod destinations;
mod devices;
mod durable;
mod encrypted;
mod faults;
mod first_steps;
mod fleet;
mod forgotten;
mod healing;
mod kills;
mod lanes;
mod lives;
mod logins;
mod max_wait;
mod metrics;
mod namespaces;
mod operators;
mod orders;
mod recovery;
mod restored;
mod scripts;
mod search;
mod secrets;
mod seeds;
mod shutdown;
mod start_delay;
mod storm;
mod sweep;
mod traces;
mod unnamed;
mod verification;
mod windows;
mod year;
