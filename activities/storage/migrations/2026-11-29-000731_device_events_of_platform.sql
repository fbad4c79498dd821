--step index device_events from 0.1.0
-- For lists alone (`src/db/partial.rs`): an app's events of devices, whatever others have.
CREATE INDEX device_events_of_platform ON device_events (platform_id, seq) WHERE seq + 0 > 0;
