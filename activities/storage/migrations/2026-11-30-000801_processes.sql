--step script from 0.1.0
-- The signs of life of the processes that use this database. Release 0.1.0 leaves none.
CREATE TABLE processes (
    -- Random, of each start.
    id TEXT NOT NULL PRIMARY KEY,
    -- The command that runs, such as `worker`.
    role TEXT NOT NULL,
    version TEXT NOT NULL,
    host TEXT NOT NULL,
    -- JSON: the names of the stores that it knows.
    stores TEXT NOT NULL,
    -- When the sign was renewed last.
    seen_at BIGINT NOT NULL
);
