--step index deliveries from 0.1.0
-- For lists alone (`src/db/partial.rs`): the deliveries to an app's destinations, whatever others have.
CREATE INDEX deliveries_to_destination ON deliveries (destination_id, seq) WHERE seq + 0 > 0;
