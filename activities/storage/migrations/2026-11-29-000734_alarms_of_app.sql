--step index alarms from 0.1.0
-- For lists alone (`src/db/partial.rs`): an app's alarms, whatever others have.
CREATE INDEX alarms_of_app ON alarms (app_id, last_at, seq) WHERE length(app_id) > 0;
