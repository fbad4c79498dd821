--step index notifications from 0.1.0
-- For lists: an app's notifications, whatever others have.
CREATE INDEX notifications_of_platform ON notifications (platform_id, seq);
