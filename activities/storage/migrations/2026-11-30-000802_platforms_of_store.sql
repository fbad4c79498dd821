--step script platforms from 0.1.0
-- What a platform has of its store alone: settings in JSON, and encrypted credentials with the time when they were set.
ALTER TABLE platforms ADD COLUMN store_settings TEXT;
ALTER TABLE platforms ADD COLUMN store_credentials TEXT;
ALTER TABLE platforms ADD COLUMN store_credentials_at BIGINT;
