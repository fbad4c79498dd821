//! A quiet installation on SQLite is restored from a backup that lacks the last change of some purchases. The store
//! sends these changes again: they are announced under other ids, and no id gets a different body (I4).

use crate::site::Site;
use crate::store::LivedAt;
use crate::watch::list;
use std::time::Duration;
use system_tests::backup::Backup;
use system_tests::sns::{Message, Rtn};
use system_tests::wait;

/// Maximum number of purchases that change after the backup.
const CHANGED: usize = 4;

/// Changes purchases of the first platform after a backup, restores the backup, and sends the changes again. Records
/// each change in `lived`, and returns their number.
///
/// # Errors
/// Describes what did not arrive or was refused.
pub async fn restore(
    site: &mut Site,
    lived: &mut [LivedAt],
    timeout: Duration,
) -> Result<usize, String> {
    wait_quiet(site, timeout).await?;
    site.world.kill9();
    let backup = Backup::of(&site.world.installation);
    site.restart_all().await;
    let mut lost = Vec::new();
    let now = api::clock::now();
    let receipts = lived.iter_mut().filter(|(platform, _)| *platform == 0);
    let receipts = receipts.flat_map(|(_, receipts)| receipts.values_mut());
    for lived in receipts.filter(|lived| lived.is_active(now)).take(CHANGED) {
        let renews = lived.shown.renews();
        let kind = if renews {
            "SUBSCRIPTION_AUTO_RENEWAL_OFF"
        } else {
            "SUBSCRIPTION_AUTO_RENEWAL_ON"
        };
        let rtn = Rtn::new(kind, &lived.shown.receipt_id);
        lost.push(site.world.sns.notification(&Rtn {
            app_user_id: lived.shown.app_user_id.clone(),
            ..rtn
        }));
        lived.shown.shown["autoRenewing"] = (!renews).into();
    }
    settle_all(site, &lost, timeout).await?;
    site.world.kill9();
    let restored = backup.restore(&site.world.installation);
    restored.map_err(|error| error.to_string())?;
    let raised =
        tokio::task::block_in_place(|| site.world.installation.call(&["migrate", "--raise-epoch"]));
    if !raised.status.success() {
        return Err(format!("the epoch is not raised: {raised:?}"));
    }
    site.restart_all().await;
    settle_all(site, &lost, timeout).await?;
    Ok(lost.len())
}

/// Sends messages, and waits until each has its outcome and is delivered.
async fn settle_all(
    site: &mut Site,
    messages: &[Message],
    timeout: Duration,
) -> Result<(), String> {
    for message in messages {
        let answer = site.world.post(message).await?;
        if answer.status != 200 {
            return Err(format!("I1: refused after a backup: {answer:?}"));
        }
    }
    for message in messages {
        wait::within(
            timeout,
            &format!("I1: the outcome of {} around a backup", message.id),
            async || {
                let answer = site
                    .world
                    .api
                    .try_get(&format!("/v1/notifications/{}", message.id))
                    .await?;
                if answer.body["notifications"][0]["outcome"].is_string() {
                    Ok(())
                } else {
                    Err(format!("{answer:?}"))
                }
            },
        )
        .await?;
    }
    wait_quiet(site, timeout).await
}

/// Waits until nothing is pending for any destination with an allowed address.
async fn wait_quiet(site: &Site, timeout: Duration) -> Result<(), String> {
    wait::within(timeout, "I5: the deliveries around a backup", async || {
        let pending = list(&site.world.api, "/v1/deliveries?status=pending&limit=500").await?;
        let own = pending
            .iter()
            .find(|one| one["destination_id"] != *site.endpoints.forbidden_id);
        own.map_or(Ok(()), |one| Err(one.to_string()))
    })
    .await
}
