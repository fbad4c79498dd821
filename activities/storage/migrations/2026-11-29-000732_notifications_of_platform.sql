--step index notifications from 0.1.0
-- For lists alone (`src/db/partial.rs`): an app's notifications, whatever others have.
CREATE INDEX notifications_of_platform ON notifications (platform_id, seq) WHERE seq + 0 > 0;
