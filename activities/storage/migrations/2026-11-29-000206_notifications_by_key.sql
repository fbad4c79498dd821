--step script notifications from 0.1.0
-- The indexes before this step have replaced these. Release 0.1.0 uses the new ones: `outcome IS NULL` implies their
-- predicates too.
DROP INDEX notifications_open;
DROP INDEX notifications_due;
DROP INDEX notifications_woken;
DROP INDEX notifications_receipt;
DROP INDEX notifications_waiting;
