--step script transfers from 0.1.0
-- The purchases of a transfer behind this key are not announced yet; NULL once all of them are.
ALTER TABLE transfers ADD COLUMN unannounced_after TEXT
