--step script claims from 0.1.0
-- Why the database refused the last step of a pending claim; NULL after a step that succeeded.
ALTER TABLE claims ADD COLUMN failure TEXT
