//! The first steps with settle: those that remain until a notification reaches a destination.

use super::{apps, overview, platforms};
use crate::config::Demo;
use crate::edge::Edge;
use crate::error::Error;
use domain::AppId;
use storage::{App, Overview, Page};

/// Maximum number of apps whose platforms are read.
const APPS: i64 = 20;

/// Which of the first steps are done.
#[derive(Debug, Clone, Copy)]
pub struct FirstSteps {
    pub has_app: bool,
    /// Whether an app is connected to a store.
    pub has_platform: bool,
    pub has_notification: bool,
    pub has_destination: bool,
}

impl FirstSteps {
    /// Returns whether all steps are done.
    pub const fn are_done(self) -> bool {
        self.has_app && self.has_platform && self.has_notification && self.has_destination
    }

    /// Returns the steps with their progress; `None` if all are done, and for the demo. Resources of the demo are not
    /// counted.
    ///
    /// # Errors
    /// 503 if the database does not respond.
    pub async fn left(
        edge: &Edge,
        found: &Overview,
        app: Option<AppId>,
    ) -> Result<Option<Self>, Error> {
        let all = apps::reached(edge, app, first(APPS)).await?.items;
        let is_all = found.last_accepted_at.is_some() && !found.destinations.is_empty();
        if is_all && all.iter().all(|one| one.name != Demo::APP) {
            return Ok(None);
        }
        let Own {
            apps,
            demo,
            has_platform,
        } = Own::of(edge, &all).await?;
        if app.is_some() && demo == app {
            return Ok(None);
        }
        let has_notification = match demo {
            Some(_) => have_notification(edge, &apps).await?,
            None => found.last_accepted_at.is_some(),
        };
        let steps = Self {
            has_app: !apps.is_empty(),
            has_platform,
            has_notification,
            has_destination: found
                .destinations
                .iter()
                .any(|one| Some(one.destination.app_id) != demo),
        };
        Ok((!steps.are_done()).then_some(steps))
    }
}

/// The apps other than the demo's.
struct Own {
    apps: Vec<AppId>,
    demo: Option<AppId>,
    /// Whether one of the apps has a platform.
    has_platform: bool,
}

impl Own {
    async fn of(edge: &Edge, all: &[App]) -> Result<Self, Error> {
        let mut own = Self {
            apps: Vec::new(),
            demo: None,
            has_platform: false,
        };
        for one in all {
            let platform = platforms::of_app(edge, one.id, first(1)).await?.items.pop();
            let is_of_demo = platform
                .as_ref()
                .is_some_and(|it| it.settings.package_name == Demo::PACKAGE_NAME);
            if one.name == Demo::APP && is_of_demo {
                own.demo = Some(one.id);
            } else {
                own.apps.push(one.id);
                own.has_platform |= platform.is_some();
            }
        }
        Ok(own)
    }
}

/// Returns whether a notification was accepted for one of these apps.
async fn have_notification(edge: &Edge, apps: &[AppId]) -> Result<bool, Error> {
    for app in apps {
        let found = overview::of(edge, Some(*app)).await?;
        if found.last_accepted_at.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

const fn first(limit: i64) -> Page {
    Page {
        cursor: None,
        limit,
    }
}
