--step script devices from 0.1.0
-- When the newest list of the receipts on it was valid; NULL before the first one.
ALTER TABLE devices ADD COLUMN listed_at BIGINT
