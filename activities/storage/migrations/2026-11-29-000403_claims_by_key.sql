--step script claims from 0.1.0
-- The indexes before this step have replaced these.
DROP INDEX claims_due;
DROP INDEX claims_waiting;
