--step script platforms from 0.1.0
-- Whether another platform of the app may have the same package in the same environment.
ALTER TABLE platforms ADD COLUMN shares_package BOOLEAN NOT NULL DEFAULT FALSE
