-- Times are microseconds since 1970, ids are text, JSON is text: the same in both databases.

CREATE TABLE installation (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    org_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    key_check TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE apps (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX apps_name ON apps (name) WHERE deleted_at IS NULL;

CREATE TABLE platforms (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    store TEXT NOT NULL,
    name TEXT NOT NULL,
    package_name TEXT NOT NULL,
    environment TEXT NOT NULL,
    shared_secret TEXT,
    window_ms BIGINT NOT NULL,
    max_wait_ms BIGINT,
    -- Which SKU of a subscription is its product_ref_id: `term` or `parent`.
    product_ref TEXT NOT NULL,
    -- Whether a revocation is settled at once, without a window.
    flush_on_revoke BOOLEAN NOT NULL,
    -- Since when the store refuses the shared secret; NULL while it does not.
    secret_refused_at BIGINT,
    ingress_key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX platforms_name ON platforms (app_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX platforms_ingress_key ON platforms (ingress_key);

CREATE TABLE topics (
    id TEXT NOT NULL PRIMARY KEY,
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    arn TEXT NOT NULL,
    state TEXT NOT NULL,
    subscribe_url TEXT,
    asked_at BIGINT NOT NULL,
    expires_at BIGINT,
    decided_at BIGINT
);
CREATE UNIQUE INDEX topics_arn ON topics (platform_id, arn);
CREATE INDEX topics_pending ON topics (expires_at) WHERE state = 'pending';

CREATE TABLE destinations (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    events TEXT NOT NULL,
    settings TEXT NOT NULL,
    secret TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    since BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX destinations_name ON destinations (app_id, name) WHERE deleted_at IS NULL;

CREATE TABLE notifications (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    message_id TEXT NOT NULL,
    receipt_id TEXT NOT NULL,
    collapse_key TEXT,
    said TEXT NOT NULL,
    store_time BIGINT,
    app_user_id TEXT,
    body TEXT NOT NULL,
    traceparent TEXT,
    accepted_at BIGINT NOT NULL,
    -- The end of its window and of its longest wait, as the platform's settings were then.
    due_at BIGINT NOT NULL,
    cap_at BIGINT,
    -- What a repeated message has in common with it, besides the purchase. NULL unless it is the first that told.
    fold_key TEXT,
    waiting_topic_id TEXT,
    outcome TEXT,
    revision BIGINT,
    reason TEXT,
    ended_at BIGINT
);
CREATE UNIQUE INDEX notifications_identity ON notifications (message_id, receipt_id, platform_id);
-- Folds, and finds the rows of a purchase. One index for both: each more with keys in no order costs a page per row.
CREATE UNIQUE INDEX notifications_of_key ON notifications (collapse_key, fold_key);
CREATE INDEX notifications_open ON notifications (seq) WHERE outcome IS NULL AND waiting_topic_id IS NULL;
CREATE INDEX notifications_due ON notifications (due_at) WHERE outcome IS NULL AND waiting_topic_id IS NULL;
CREATE INDEX notifications_cap ON notifications (cap_at)
    WHERE outcome IS NULL AND waiting_topic_id IS NULL AND cap_at IS NOT NULL;
CREATE INDEX notifications_receipt ON notifications (receipt_id) WHERE outcome IS NULL;
-- What became of purchases that were adopted.
CREATE INDEX notifications_imported ON notifications (platform_id, outcome) WHERE said = 'IMPORTED';
CREATE INDEX notifications_waiting ON notifications (waiting_topic_id, seq)
    WHERE outcome IS NULL AND waiting_topic_id IS NOT NULL;

-- The owners of purchases. Anonymous until the customer's own id is named.
CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    external_id TEXT,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
-- By the id first: people ask for it without naming the app.
CREATE UNIQUE INDEX users_external ON users (external_id, app_id) WHERE external_id IS NOT NULL;

-- Which user a store's own customer is.
CREATE TABLE store_users (
    app_id TEXT NOT NULL REFERENCES apps (id),
    store TEXT NOT NULL,
    app_user_id TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id),
    PRIMARY KEY (app_id, store, app_user_id)
);
CREATE INDEX store_users_user ON store_users (user_id);

CREATE TABLE entitlements (
    app_id TEXT NOT NULL REFERENCES apps (id),
    ref_id TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    PRIMARY KEY (app_id, ref_id)
);

CREATE TABLE products (
    app_id TEXT NOT NULL REFERENCES apps (id),
    sku TEXT NOT NULL,
    name TEXT,
    -- JSON: a list of prices.
    prices TEXT NOT NULL,
    PRIMARY KEY (app_id, sku)
);

CREATE TABLE product_entitlements (
    app_id TEXT NOT NULL,
    sku TEXT NOT NULL,
    position BIGINT NOT NULL,
    ref_id TEXT NOT NULL,
    PRIMARY KEY (app_id, sku, position),
    FOREIGN KEY (app_id, sku) REFERENCES products (app_id, sku),
    FOREIGN KEY (app_id, ref_id) REFERENCES entitlements (app_id, ref_id)
);

-- What one unit of a currency was worth in USD on a day (`2026-01-31`).
CREATE TABLE rates (
    app_id TEXT NOT NULL REFERENCES apps (id),
    currency TEXT NOT NULL,
    day TEXT NOT NULL,
    usd TEXT NOT NULL,
    PRIMARY KEY (app_id, currency, day)
);

CREATE TABLE purchases (
    collapse_key TEXT NOT NULL PRIMARY KEY,
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    app_id TEXT NOT NULL REFERENCES apps (id),
    receipt_id TEXT NOT NULL,
    app_user_id TEXT,
    user_id TEXT REFERENCES users (id),
    revision BIGINT NOT NULL,
    -- Of `data` as it was told last; empty before.
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    purchase TEXT NOT NULL,
    -- The SKUs of its product as the store showed them: the term's and the parent's.
    term_sku TEXT,
    product_id TEXT,
    -- What open notifications up to `waits_through` wait for after their window: `verification` or `parked`.
    waits_for TEXT,
    waits_through BIGINT,
    -- The first failed attempt since the store last answered, and how many there were.
    unverified_since BIGINT,
    verify_attempts BIGINT NOT NULL,
    -- The last settling: its number, what it settled and whether it raised the revision. Who asks for another look
    -- raises the number too, so that a settling that began before is not recorded.
    settling BIGINT NOT NULL,
    fingerprint TEXT NOT NULL,
    changed BOOLEAN NOT NULL,
    held_until BIGINT,
    held_by TEXT,
    held_reason TEXT,
    next_wake_at BIGINT,
    -- When the sweep last woke it for a past wake: until it is followed, others are woken first for a while.
    wake_tried_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX purchases_receipt ON purchases (receipt_id);
CREATE INDEX purchases_customer ON purchases (app_user_id) WHERE app_user_id IS NOT NULL;
CREATE INDEX purchases_user ON purchases (user_id);
CREATE INDEX purchases_app ON purchases (app_id, collapse_key);
CREATE INDEX purchases_term_sku ON purchases (app_id, term_sku) WHERE term_sku IS NOT NULL;
CREATE INDEX purchases_product ON purchases (app_id, product_id) WHERE product_id IS NOT NULL;
CREATE INDEX purchases_order ON purchases (updated_at, collapse_key);
CREATE INDEX purchases_platform ON purchases (platform_id, updated_at, collapse_key);
CREATE INDEX purchases_wake ON purchases (platform_id, next_wake_at) WHERE next_wake_at IS NOT NULL;
CREATE INDEX purchases_waiting ON purchases (platform_id, next_wake_at)
    WHERE (waits_for IS NOT NULL OR waits_through IS NOT NULL);

-- A change of plan over two receipts, known as soon as it was told. `real_at`: since when the new one is known to be real.
CREATE TABLE replacements (
    old_key TEXT NOT NULL PRIMARY KEY,
    new_key TEXT NOT NULL,
    real_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX replacements_new ON replacements (new_key);

CREATE TABLE events (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    collapse_key TEXT NOT NULL REFERENCES purchases (collapse_key),
    event_type TEXT NOT NULL,
    revision BIGINT NOT NULL,
    -- Whose event it is and which of the user's revisions it tells; NULL for `purchase.updated`.
    user_id TEXT,
    user_revision BIGINT,
    -- When it happened by the store, where that is known.
    occurred_at BIGINT,
    body TEXT NOT NULL,
    traceparent TEXT,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX events_id ON events (id);
CREATE INDEX events_of_key ON events (collapse_key, event_type, seq);

CREATE TABLE deliveries (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    destination_id TEXT NOT NULL REFERENCES destinations (id),
    event_id TEXT NOT NULL REFERENCES events (id),
    n BIGINT NOT NULL,
    event_type TEXT NOT NULL,
    collapse_key TEXT NOT NULL,
    revision BIGINT NOT NULL,
    status TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_due_at BIGINT NOT NULL,
    -- Frozen at the first claim; NULL before.
    body TEXT,
    last_error TEXT,
    traceparent TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE UNIQUE INDEX deliveries_id ON deliveries (id);
CREATE UNIQUE INDEX deliveries_event ON deliveries (event_id, destination_id, n);
CREATE INDEX deliveries_of_key ON deliveries (collapse_key, destination_id, seq);
CREATE INDEX deliveries_of_destination ON deliveries (destination_id, status, seq);
CREATE INDEX deliveries_pending ON deliveries (collapse_key, destination_id, seq) WHERE status = 'pending';
CREATE INDEX deliveries_owed ON deliveries (status, seq) WHERE status = 'pending';
CREATE INDEX deliveries_dead ON deliveries (status, seq) WHERE status = 'dead';
CREATE INDEX deliveries_due ON deliveries (destination_id, next_due_at) WHERE status = 'pending';

CREATE TABLE attempts (
    delivery_id TEXT NOT NULL REFERENCES deliveries (id),
    number BIGINT NOT NULL,
    token TEXT NOT NULL,
    -- NULL until the attempt is finished, and for ever when its worker died.
    finished_at BIGINT,
    started_at BIGINT NOT NULL,
    latency_ms BIGINT,
    status BIGINT,
    class TEXT,
    error TEXT,
    response TEXT,
    PRIMARY KEY (delivery_id, number)
);

CREATE TABLE lanes (
    destination_id TEXT NOT NULL REFERENCES destinations (id),
    collapse_key TEXT NOT NULL,
    acked_revision BIGINT,
    lease_token TEXT,
    lease_delivery_id TEXT,
    lease_until BIGINT,
    PRIMARY KEY (destination_id, collapse_key)
);

CREATE TABLE alarms (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- First and last time; so often.
    at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    times BIGINT NOT NULL,
    platform_id TEXT,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE UNIQUE INDEX alarms_same ON alarms (kind, detail, COALESCE(platform_id, ''));
CREATE INDEX alarms_order ON alarms (last_at, seq);
