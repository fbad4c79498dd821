--step script deliveries from 0.1.0
-- The indexes before this step have replaced these. Release 0.1.0 uses the new ones: `status = 'pending'` implies their
-- predicates too.
DROP INDEX deliveries_pending;
DROP INDEX deliveries_of_destination;
DROP INDEX deliveries_due;
DROP INDEX deliveries_tried;
DROP INDEX deliveries_pending_by_age;
DROP INDEX deliveries_waiting;
DROP INDEX deliveries_waiting_of_destination;
DROP INDEX deliveries_waiting_since;
DROP INDEX deliveries_unnamed;
DROP INDEX deliveries_failed_of_destination;
DROP INDEX deliveries_failed;
DROP INDEX deliveries_skipped_of_destination;
DROP INDEX deliveries_skipped;
