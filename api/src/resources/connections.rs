//! Progress of connecting platforms, from the first message of the store to the first delivery.

use crate::edge::Edge;
use crate::error::Error;
use domain::{AppId, CollapseKey, PlatformId};
use std::collections::BTreeSet;
use storage::{Platform, PlatformProgress, PurchaseExplanation};

/// A platform with what is stored about its connection.
pub struct ConnectedPlatform {
    pub platform: Platform,
    pub progress: PlatformProgress,
    /// Whether the platform's app has a destination.
    pub has_destination: bool,
    /// Whether this process accepts sample notifications for the platform.
    pub takes_samples: bool,
    /// Whether the platform's store sends from topics, which have to be approved.
    pub has_topics: bool,
}

/// Reads the progress of connecting these platforms.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of_platforms(
    edge: &Edge,
    platforms: Vec<Platform>,
) -> Result<Vec<ConnectedPlatform>, Error> {
    let apps: BTreeSet<AppId> = platforms.iter().map(|one| one.app_id).collect();
    let ids = platforms.iter().map(|one| one.id).collect();
    let with_destination = edge
        .store
        .apps_with_destination(apps.into_iter().collect())
        .await?;
    let mut progress = edge.store.progress(ids).await?;
    let connected = |platform: Platform| ConnectedPlatform {
        progress: progress.remove(&platform.id).unwrap_or_default(),
        has_destination: with_destination.contains(&platform.app_id),
        takes_samples: edge.samples(&platform).is_ok(),
        has_topics: edge.topics(&platform.store).is_some(),
        platform,
    };
    Ok(platforms.into_iter().map(connected).collect())
}

/// Returns a platform's latest purchase, with its explanation.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn newest(
    edge: &Edge,
    platform: PlatformId,
) -> Result<Option<(CollapseKey, PurchaseExplanation)>, Error> {
    let Some(key) = edge.store.newest_purchase(platform).await? else {
        return Ok(None);
    };
    Ok(Some((key, edge.store.explain_purchase(key).await?)))
}
