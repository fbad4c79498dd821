--step script from 0.1.0
-- The duties to stores, such as the acknowledgement of a purchase. Release 0.1.0 leaves none.
CREATE TABLE duties (
    -- Computed from the kind and the purchase or question, so that each duty is stored once.
    id TEXT NOT NULL PRIMARY KEY,
    -- `acknowledge` or `refund_review`.
    kind TEXT NOT NULL,
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    -- The purchase; NULL if the store's question names none.
    collapse_key TEXT,
    -- The store's id of the order in question.
    order_id TEXT,
    created_at BIGINT NOT NULL,
    -- The deadline.
    answer_by BIGINT NOT NULL,
    -- When the next attempt is due, or the lease of the running one ends; NULL if nothing is attempted now.
    due_at BIGINT,
    attempts BIGINT NOT NULL DEFAULT 0,
    -- Why the last attempt failed.
    failure TEXT,
    -- When the alarm before the deadline is due; NULL once it was raised, and if none is wanted.
    warn_at BIGINT,
    warned_at BIGINT,
    -- When and how it was closed.
    done_at BIGINT,
    result TEXT
);
CREATE INDEX duties_due ON duties (platform_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX duties_to_warn ON duties (warn_at) WHERE warn_at IS NOT NULL;
CREATE INDEX duties_open ON duties (platform_id, answer_by, id) WHERE done_at IS NULL;
CREATE INDEX duties_of_order ON duties (platform_id, order_id) WHERE order_id IS NOT NULL
