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
    -- How receipts are treated that the store never knows: `give_up` or `believe`.
    unknown_receipts TEXT NOT NULL,
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
    requested_at BIGINT NOT NULL,
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
    -- The meaning of wildcards in `events`: `everything` or `listed`.
    wildcards TEXT NOT NULL,
    -- JSON: platforms and environments whose events are wanted; empty lists want all.
    filter TEXT NOT NULL,
    settings TEXT NOT NULL,
    secret TEXT NOT NULL,
    -- Whether requests about one user are made one after the other.
    per_user BOOLEAN NOT NULL,
    per_request BIGINT NOT NULL,
    -- Which user attributes it keeps profiles of: `documented` or `extended`; NULL where it keeps none.
    profile TEXT,
    -- Maximum number of requests a second, and of concurrent ones, over all processes.
    rate BIGINT,
    concurrency BIGINT NOT NULL,
    -- JSON: the waits between attempts in seconds; NULL for those of its kind.
    schedule TEXT,
    enabled BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    since BIGINT NOT NULL,
    -- Since when it has its present choice; NULL since it was created.
    chosen_at BIGINT,
    -- After which delivery the waiting ones are still to be reconsidered, since its settings changed; NULL when all
    -- were.
    reconsider_after BIGINT,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX destinations_name ON destinations (app_id, name) WHERE deleted_at IS NULL;

-- The health of a destination. Written by failures and by the first success after them; by every claim only where a
-- rate or the concurrency is counted.
CREATE TABLE health (
    destination_id TEXT NOT NULL PRIMARY KEY REFERENCES destinations (id),
    -- Failures in a row, each of another purchase than the one before.
    failures BIGINT NOT NULL,
    last_failed_key TEXT,
    last_error TEXT,
    first_failure_at BIGINT,
    last_failure_at BIGINT,
    last_success_at BIGINT,
    -- The breaker: since when it is open, when it was tried last, when it closed again.
    opened_at BIGINT,
    probed_at BIGINT,
    recovered_at BIGINT,
    -- When a person requested a retry of everything that had been tried, and when its settings or secrets were changed.
    retry_requested_at BIGINT,
    changed_at BIGINT,
    -- Until when its `Retry-After` pauses it.
    paused_until BIGINT,
    -- When the next request may be made under its rate.
    next_slot_at BIGINT NOT NULL,
    -- How many warnings were sent before it is disabled.
    warned BIGINT NOT NULL,
    -- Whether its trouble was announced to operators, and its end was not yet.
    is_announced BOOLEAN NOT NULL,
    -- Until when tried deliveries had the back-off of their purchases' runs cancelled.
    backoff_cancelled_through BIGINT
);

CREATE TABLE notifications (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    message_id TEXT NOT NULL,
    receipt_id TEXT NOT NULL,
    collapse_key TEXT,
    store_type TEXT NOT NULL,
    store_time BIGINT,
    app_user_id TEXT,
    body TEXT NOT NULL,
    traceparent TEXT,
    accepted_at BIGINT NOT NULL,
    -- The end of its window and of its longest wait, as the platform's settings were then.
    due_at BIGINT NOT NULL,
    cap_at BIGINT,
    -- The key that a repeated message shares with the first of its purchase. NULL unless it is the first report.
    fold_key TEXT,
    waiting_topic_id TEXT,
    outcome TEXT,
    revision BIGINT,
    reason TEXT,
    finished_at BIGINT,
    -- When its body was removed, for its age.
    pruned_at BIGINT
);
-- One message can name one receipt with two types: the type belongs to the identity.
CREATE UNIQUE INDEX notifications_identity ON notifications (message_id, receipt_id, store_type, platform_id);
-- Folds, and finds the rows of a purchase. One index for both: each further one with unordered keys costs a page per
-- row.
CREATE UNIQUE INDEX notifications_of_key ON notifications (collapse_key, fold_key);
CREATE INDEX notifications_open ON notifications (seq) WHERE outcome IS NULL AND waiting_topic_id IS NULL;
CREATE INDEX notifications_due ON notifications (due_at) WHERE outcome IS NULL AND waiting_topic_id IS NULL;
CREATE INDEX notifications_cap ON notifications (cap_at)
    WHERE outcome IS NULL AND waiting_topic_id IS NULL AND cap_at IS NOT NULL;
CREATE INDEX notifications_receipt ON notifications (receipt_id) WHERE outcome IS NULL;
-- The outcomes of adopted purchases.
CREATE INDEX notifications_imported ON notifications (platform_id, outcome) WHERE store_type = 'IMPORTED';
CREATE INDEX notifications_waiting ON notifications (waiting_topic_id, seq)
    WHERE outcome IS NULL AND waiting_topic_id IS NOT NULL;

-- A record of what was accepted: by it the audit finds a notification that is gone. Written in the transaction of the
-- notifications, one row for up to sixteen of them, and never changed.
CREATE TABLE acceptances (
    -- The lowest sequence number in it; the others are at most 255 above.
    seq INTEGER NOT NULL PRIMARY KEY,
    -- JSON: the sequence number of each notification, and its purchase or null.
    notifications TEXT NOT NULL
);

-- The owners of purchases. Anonymous until the customer's own id is named.
CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    external_id TEXT,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
-- By the id first: people search for it without naming the app.
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
    -- JSON: a list of prices, each with an optional time since when it holds.
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

-- The value of one unit of a currency was worth in USD on a day (`2026-01-31`).
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
    -- The first owner: the same for ever, whichever user that one joins.
    first_user_id TEXT REFERENCES users (id),
    revision BIGINT NOT NULL,
    -- Of `data` as it was announced last; empty before.
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    -- The environment in which it counts, as it was recorded last: a test purchase is of the sandbox on every platform.
    -- NULL before.
    environment TEXT,
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
    -- The last settling: its number, and what it settled. A recheck raises the number too, so that a settling that began
    -- before is not recorded.
    settling BIGINT NOT NULL,
    fingerprint TEXT NOT NULL,
    held_until BIGINT,
    held_by TEXT,
    held_reason TEXT,
    next_wake_at BIGINT,
    -- When the sweep last woke it for a past wake: until it is followed, others are woken first for a while.
    wake_tried_at BIGINT,
    -- How many entries its ledger has in `payments`.
    payments BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX purchases_receipt ON purchases (receipt_id);
CREATE INDEX purchases_customer ON purchases (app_user_id) WHERE app_user_id IS NOT NULL;
CREATE INDEX purchases_user ON purchases (user_id);
CREATE INDEX purchases_app ON purchases (app_id, collapse_key);
-- For the feed of a destination that wants one environment.
CREATE INDEX purchases_environment ON purchases (app_id, environment, collapse_key);
CREATE INDEX purchases_term_sku ON purchases (app_id, term_sku) WHERE term_sku IS NOT NULL;
CREATE INDEX purchases_product ON purchases (app_id, product_id) WHERE product_id IS NOT NULL;
CREATE INDEX purchases_order ON purchases (updated_at, collapse_key);
CREATE INDEX purchases_platform ON purchases (platform_id, updated_at, collapse_key);
CREATE INDEX purchases_wake ON purchases (platform_id, next_wake_at) WHERE next_wake_at IS NOT NULL;
CREATE INDEX purchases_waiting ON purchases (platform_id, next_wake_at)
    WHERE (waits_for IS NOT NULL OR waits_through IS NOT NULL);

-- Rechecks of many purchases that are not done, batch by batch: `secret`, `failures`, `environment`, `product_ref` or
-- `parked` of a platform, `catalogue` of an app. The row goes with its last batch.
CREATE TABLE rechecks (
    why TEXT NOT NULL,
    -- The platform or the app.
    subject_id TEXT NOT NULL,
    app_id TEXT NOT NULL REFERENCES apps (id),
    requested_at BIGINT NOT NULL,
    -- Of a secret: since when the store refused the one before it.
    refused_at BIGINT,
    -- After which of the app's purchases, in the order of their keys, none was rechecked yet.
    after_key TEXT NOT NULL,
    PRIMARY KEY (why, subject_id)
);

-- The SKUs that the recheck for the catalogue of an app is about.
CREATE TABLE recheck_skus (
    app_id TEXT NOT NULL REFERENCES apps (id),
    sku TEXT NOT NULL,
    PRIMARY KEY (app_id, sku)
);

-- A change of plan over two receipts, known as soon as it was reported. `real_at`: since when the new one is known to
-- be real.
CREATE TABLE replacements (
    old_key TEXT NOT NULL PRIMARY KEY,
    new_key TEXT NOT NULL,
    real_at BIGINT,
    created_at BIGINT NOT NULL,
    -- Whether no notification reports it: it follows from the store's reason and the dates of both receipts.
    is_inferred BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX replacements_new ON replacements (new_key);

CREATE TABLE events (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    -- A purchase; of events about a destination, that destination's id.
    collapse_key TEXT NOT NULL,
    event_type TEXT NOT NULL,
    revision BIGINT NOT NULL,
    -- The user, and which of their revisions it carries; none of `purchase.updated`.
    user_id TEXT,
    user_revision BIGINT,
    -- When it happened by the store, where that is known.
    occurred_at BIGINT,
    -- The environment of its purchase when it was recorded: it decides, once, the destinations that are owed the event.
    -- NULL of events about a destination.
    environment TEXT,
    body TEXT NOT NULL,
    -- JSON: the user's state over their purchases in the environment of this one; NULL where `body` has the same.
    state_apart TEXT,
    -- JSON: more attributes of the user in that environment; NULL where no integration keeps them.
    profile TEXT,
    -- JSON: both over the purchases on the platforms that filtered destinations want; NULL where none is filtered so.
    views TEXT,
    traceparent TEXT,
    created_at BIGINT NOT NULL,
    -- When its body was reduced to what the audit and receivers need, for its age.
    pruned_at BIGINT
);
CREATE UNIQUE INDEX events_id ON events (id);
CREATE INDEX events_of_key ON events (collapse_key, event_type, seq);
CREATE INDEX events_of_user ON events (user_id, user_revision) WHERE user_id IS NOT NULL;
CREATE INDEX events_created ON events (created_at, seq);

CREATE TABLE deliveries (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    destination_id TEXT NOT NULL REFERENCES destinations (id),
    event_id TEXT NOT NULL REFERENCES events (id),
    n BIGINT NOT NULL,
    event_type TEXT NOT NULL,
    collapse_key TEXT NOT NULL,
    revision BIGINT NOT NULL,
    -- `pending`, `waiting` for the customer's id, or how it ended: `delivered`, `superseded`, `skipped` or `dead`.
    status TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_due_at BIGINT NOT NULL,
    -- When it was first and last attempted; a delivery that a running `Retry-After` holds back counts as attempted when
    -- that was received.
    first_tried_at BIGINT,
    tried_at BIGINT,
    -- Frozen at the first claim; NULL before. So is the environment in which it is sent.
    body TEXT,
    environment TEXT,
    -- The revenue in the body, in USD; below 0 for what was given back. NULL for nothing, and before.
    revenue TEXT,
    last_error TEXT,
    traceparent TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    -- When its body and the responses to its attempts were removed, for their age.
    pruned_at BIGINT
);
CREATE UNIQUE INDEX deliveries_id ON deliveries (id);
CREATE UNIQUE INDEX deliveries_event ON deliveries (event_id, destination_id, n);
CREATE INDEX deliveries_of_key ON deliveries (collapse_key, destination_id, seq);
CREATE INDEX deliveries_of_destination ON deliveries (destination_id, status, seq);
CREATE INDEX deliveries_pending ON deliveries (collapse_key, destination_id, seq) WHERE status = 'pending';
CREATE INDEX deliveries_owed ON deliveries (status, seq) WHERE status = 'pending';
CREATE INDEX deliveries_dead ON deliveries (status, seq) WHERE status = 'dead';
CREATE INDEX deliveries_due ON deliveries (destination_id, next_due_at) WHERE status = 'pending';
-- Deliveries that were tried before a destination recovered are due since then.
CREATE INDEX deliveries_tried ON deliveries (destination_id, tried_at) WHERE status = 'pending';
CREATE INDEX deliveries_waiting ON deliveries (collapse_key) WHERE status = 'waiting';
-- For lists.
CREATE INDEX deliveries_unnamed ON deliveries (seq) WHERE status = 'waiting';
CREATE INDEX deliveries_skipped ON deliveries (seq) WHERE status = 'skipped';
-- Owed deliveries that no newer state stands for.
CREATE INDEX deliveries_news ON deliveries (destination_id, seq)
    WHERE status IN ('pending', 'waiting') AND event_type <> 'purchase.updated';

CREATE TABLE attempts (
    delivery_id TEXT NOT NULL REFERENCES deliveries (id),
    number BIGINT NOT NULL,
    token TEXT NOT NULL,
    -- The run that made it: `lane`, `drain` or `probe`; and whether it used up a step of the schedule.
    mode TEXT NOT NULL,
    counts BOOLEAN NOT NULL,
    -- NULL until the attempt is finished, and for ever when its worker died.
    finished_at BIGINT,
    started_at BIGINT NOT NULL,
    latency_ms BIGINT,
    status BIGINT,
    class TEXT,
    error TEXT,
    -- JSON: some headers of the answer.
    headers TEXT,
    response TEXT,
    -- When the next attempt was due then.
    next_due_at BIGINT,
    PRIMARY KEY (delivery_id, number)
);

CREATE TABLE lanes (
    destination_id TEXT NOT NULL REFERENCES destinations (id),
    collapse_key TEXT NOT NULL,
    acked_revision BIGINT,
    lease_token TEXT,
    lease_until BIGINT,
    -- The user that is leased with it, where requests about one user are made one after the other.
    lease_user_id TEXT,
    -- When the destination's `Retry-After` for this purchase was received, and until when it holds.
    retry_after_received_at BIGINT,
    retry_after_until BIGINT,
    PRIMARY KEY (destination_id, collapse_key)
);
CREATE INDEX lanes_leased ON lanes (destination_id, lease_until) WHERE lease_token IS NOT NULL;

-- The states of a user in an environment at a destination with requests in the order of its user: the newest that it
-- acknowledged, and the newest that was sent, or was about to be, and that it may have.
CREATE TABLE user_lanes (
    destination_id TEXT NOT NULL REFERENCES destinations (id),
    user_id TEXT NOT NULL,
    environment TEXT NOT NULL,
    acked_revision BIGINT,
    sent_revision BIGINT,
    lease_token TEXT,
    lease_until BIGINT,
    -- Until when the destination pauses this user.
    paused_until BIGINT,
    PRIMARY KEY (destination_id, user_id, environment)
);

-- The profile of a user in an environment that a destination was owed last, by an event that carries it or by a
-- `profile.updated`.
CREATE TABLE profiles (
    destination_id TEXT NOT NULL REFERENCES destinations (id),
    user_id TEXT NOT NULL,
    environment TEXT NOT NULL,
    digest TEXT NOT NULL,
    -- `owed`, `lost` when it did not arrive and is owed again, `left` when it did not and only another state, or a snapshot,
    -- is worth another try.
    arrival TEXT NOT NULL,
    -- How often in a row a delivery with this state died.
    deaths BIGINT NOT NULL,
    -- The attributes in it that are known and may become unknown, with commas between them.
    shown TEXT NOT NULL,
    PRIMARY KEY (destination_id, user_id, environment)
);

CREATE TABLE alarms (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- First and last time, and how often.
    at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    times BIGINT NOT NULL,
    platform_id TEXT,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE UNIQUE INDEX alarms_same ON alarms (kind, detail, COALESCE(platform_id, ''));
CREATE INDEX alarms_order ON alarms (last_at, seq);

-- How far each table was walked for bodies that are too old; it begins anew at the end.
CREATE TABLE retention (
    table_name TEXT NOT NULL PRIMARY KEY,
    through BIGINT NOT NULL
);

-- The answers of pages of bulk runs: requested again, a page gives the same answer and owes nothing. The first page's
-- cursor is empty; `request_digest` distinguishes the run's content from others.
CREATE TABLE pages (
    run TEXT NOT NULL,
    cursor TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (run, cursor)
);
CREATE INDEX pages_at ON pages (at);

-- Money: the revenue of each payment of a purchase, and what changed it since. Rows are only added.
CREATE TABLE payments (
    collapse_key TEXT NOT NULL,
    -- The number of the term that was paid, from 1; below 0 where terms cannot be counted.
    number BIGINT NOT NULL,
    -- 0 is the payment, the others change it, in their order.
    entry BIGINT NOT NULL,
    app_id TEXT NOT NULL REFERENCES apps (id),
    -- Whether it is for money or in the store's test environment: `production` or `sandbox`.
    environment TEXT NOT NULL,
    -- `initial`, `renewal`, `trial_conversion`, `recovery`, `plan_change`; `refund`, `restored`, `correction`.
    kind TEXT NOT NULL,
    -- The event that announces it, and the other one that announces the same: a conversion is also a renewal.
    event_id TEXT NOT NULL,
    other_event_id TEXT,
    occurred_at BIGINT NOT NULL,
    sku TEXT,
    price TEXT,
    currency TEXT,
    -- What it adds, in USD, and why that is not known.
    usd TEXT,
    unknown_because TEXT,
    -- The source of the amount: `catalogue`, `store` or `report`.
    source TEXT NOT NULL,
    -- The store's name of the transaction, where it comes from a sales report.
    transaction_id TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (collapse_key, number, entry)
);
CREATE UNIQUE INDEX payments_event ON payments (event_id);
CREATE INDEX payments_other_event ON payments (other_event_id) WHERE other_event_id IS NOT NULL;

-- The lines of sales reports, whether or not the payment that each belongs to is known yet.
CREATE TABLE sales (
    app_id TEXT NOT NULL REFERENCES apps (id),
    transaction_id TEXT NOT NULL,
    -- `charge`, `refund` or `chargeback`.
    kind TEXT NOT NULL,
    -- A transaction can be given back in parts: their time (micros), and 0 for a charge.
    returned_at BIGINT NOT NULL,
    receipt_id TEXT NOT NULL,
    sku TEXT NOT NULL,
    price TEXT NOT NULL,
    currency TEXT NOT NULL,
    sold_at BIGINT NOT NULL,
    -- Its day (`2026-01-31`), by which it is counted in USD.
    day TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, transaction_id, kind, returned_at)
);
CREATE INDEX sales_receipt ON sales (app_id, receipt_id);
CREATE INDEX sales_day ON sales (app_id, currency, day);
