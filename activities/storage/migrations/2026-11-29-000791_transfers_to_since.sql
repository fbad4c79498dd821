--step index transfers from 0.1.0
-- What moved to a user within a day.
CREATE INDEX transfers_to_since ON transfers (to_user_id, created_at);
