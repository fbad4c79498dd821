--step script from 0.1.0
-- What is read from a store at intervals because its notifications may be lost: a row for each platform and kind.
CREATE TABLE repairs (
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    -- `voids`, the list of voided payments, or `orders`, the state of recorded orders.
    kind TEXT NOT NULL,
    -- Number of runs. A run that another one replaced changes nothing.
    runs BIGINT NOT NULL,
    -- The beginning of the last pass that is complete.
    repaired_through BIGINT,
    -- The beginning of the pass in progress, and where its next run continues; NULL for its beginning.
    began_at BIGINT,
    place TEXT,
    -- When the next run is due. During a run, when it counts as lost.
    due_at BIGINT NOT NULL,
    -- Number of failures since the last success, and why and when the last run failed.
    failures BIGINT NOT NULL,
    failure TEXT,
    failed_at BIGINT,
    PRIMARY KEY (platform_id, kind)
);
