--step script destinations from 0.1.0
-- Whether the state of a user in its events is that over both environments.
ALTER TABLE destinations ADD COLUMN both_environments BOOLEAN NOT NULL DEFAULT FALSE
