--step script device_deliveries from 0.1.0
-- The index before this step has replaced it.
DROP INDEX device_deliveries_batch;
