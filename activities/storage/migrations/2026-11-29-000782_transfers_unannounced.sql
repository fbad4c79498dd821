--step index transfers from 0.1.0
-- For the sweep, which announces large transfers in batches.
CREATE INDEX transfers_unannounced ON transfers (created_at, id) WHERE unannounced_after IS NOT NULL
