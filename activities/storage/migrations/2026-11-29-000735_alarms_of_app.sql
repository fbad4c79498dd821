--step index alarms from 0.1.0
-- For lists: an app's alarms, whatever others have.
CREATE INDEX alarms_of_app ON alarms (app_id, last_at, seq);
