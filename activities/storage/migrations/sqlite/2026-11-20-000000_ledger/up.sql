-- Times are microseconds since 1970, ids are text, JSON is text: the same in both databases.

CREATE TABLE installation (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    org_id TEXT NOT NULL,
    -- A part of the ids of events. It is raised when the database may have lost what it recorded last.
    epoch BIGINT NOT NULL,
    -- PostgreSQL's system identifier and timeline when a process saw them last; NULL where they are not shown.
    lineage TEXT,
    -- The key of tombstones, encrypted.
    names_key TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- What a process writes and removes while the disk is full, to find out whether there is room again.
CREATE TABLE probes (
    id TEXT NOT NULL PRIMARY KEY,
    filler TEXT NOT NULL
);

-- The keys that secrets are encrypted with: each from its first value on.
CREATE TABLE encryption_keys (
    id TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    -- When it was turned out, since nothing was left of it. Then it never encrypts again.
    retired_at BIGINT
);

CREATE TABLE apps (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX apps_name ON apps (name) WHERE deleted_at IS NULL;

-- The keys of the API. A key has 256 random bits, so one round of SHA-256 is enough: nobody can try them all.
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    -- What it has in common with names that look like it.
    folded_name TEXT NOT NULL,
    -- `metrics`, `read`, `support`, `operator` or `admin`.
    role TEXT NOT NULL,
    -- The only app that it reaches; NULL for all.
    app_id TEXT REFERENCES apps (id),
    hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    -- When it was used last, up to a minute before the last request.
    last_used_at BIGINT
);
CREATE UNIQUE INDEX api_keys_name ON api_keys (folded_name) WHERE revoked_at IS NULL;

-- People who are signed in to the page. The cookie of a session has 256 random bits, of which this is the SHA-256.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL,
    -- Who it is, for people. Acts show it.
    name TEXT NOT NULL,
    -- What it may do, and the only app that it reaches (NULL for all): never more than its key.
    role TEXT NOT NULL,
    app_id TEXT REFERENCES apps (id),
    -- The key that it stands for; NULL for the admin token, of which `token_hash` is the keyed hash. It ends with either.
    key_id TEXT REFERENCES api_keys (id),
    token_hash TEXT,
    created_at BIGINT NOT NULL,
    -- When it was used last, up to a minute before the last request.
    used_at BIGINT NOT NULL,
    -- When it ends, however much it is used.
    expires_at BIGINT NOT NULL,
    -- When somebody ended it.
    finished_at BIGINT
);
CREATE UNIQUE INDEX sessions_hash ON sessions (hash);
CREATE INDEX sessions_expire ON sessions (expires_at);

-- Links that sign in once, by the SHA-256 of their code.
CREATE TABLE sign_in_links (
    hash TEXT NOT NULL PRIMARY KEY,
    -- What the session will have.
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    app_id TEXT REFERENCES apps (id),
    key_id TEXT REFERENCES api_keys (id),
    token_hash TEXT,
    -- How long the session may last, in milliseconds.
    lifetime_ms BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    taken_at BIGINT
);
CREATE INDEX sign_in_links_expire ON sign_in_links (expires_at);

-- What persons, keys and scripts changed. A row is written in the transaction of its change, and never changed or removed.
CREATE TABLE acts (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    at BIGINT NOT NULL,
    -- The key, if it was one of the API; and who it was, for people.
    key_id TEXT,
    actor TEXT NOT NULL,
    operation TEXT NOT NULL,
    -- NULL where it concerns no single app.
    app_id TEXT,
    subject TEXT NOT NULL,
    reason TEXT,
    -- JSON, without secrets and names of customers: the fields that it changed.
    old_fields TEXT NOT NULL,
    new_fields TEXT NOT NULL
);
CREATE UNIQUE INDEX acts_id ON acts (id);
CREATE INDEX acts_app ON acts (app_id, seq) WHERE app_id IS NOT NULL;
CREATE INDEX acts_subject ON acts (subject, seq);
CREATE INDEX acts_device_moves ON acts (app_id, at) WHERE operation = 'device.move';

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
    -- How much its devices may report in a day. NULL: as usual.
    device_events_per_day BIGINT,
    device_bytes_per_day BIGINT,
    new_devices_per_day BIGINT,
    new_users_per_day BIGINT,
    -- Which SKU of a subscription is its product_ref_id: `term` or `parent`.
    product_ref TEXT NOT NULL,
    -- Whether a revocation is settled at once, without a window.
    flush_on_revoke BOOLEAN NOT NULL,
    -- What to do with a receipt that the store does not know: `give_up` or `believe`.
    unknown_receipts TEXT NOT NULL,
    -- What a device moves of another named customer's: `immediate`, `review` or `never`. NULL: `review` while logins are signed,
    -- else `immediate`.
    transfers TEXT,
    -- When a login without a token was stored first. NULL: none was.
    unsigned_login_at BIGINT,
    -- When the store began to refuse the shared secret; NULL while it accepts it.
    secret_refused_at BIGINT,
    -- The secret part of the notification URL: the hashes by which it is found, and itself, encrypted.
    -- NULL once it is deleted.
    ingress_hash TEXT,
    ingress_key TEXT,
    -- The one before, in the same forms, until its time is over; and when a message came by it last. NULL without one.
    old_ingress_hash TEXT,
    old_ingress_key TEXT,
    old_ingress_until BIGINT,
    old_ingress_used_at BIGINT,
    -- The key with which its devices report. It is in every copy of the app, so it is no secret.
    publishable_key TEXT NOT NULL,
    -- The key of the tokens by which the customer's own server signs logins; NULL where logins need no token.
    login_secret TEXT,
    -- Raised by each change of its settings: a decision on older ones is not recorded.
    settings_version BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
-- All but that of the id are partial: in PostgreSQL a change of a column with a whole unique index waits for each
-- transaction that refers to the row.
CREATE UNIQUE INDEX platforms_publishable_key ON platforms (publishable_key) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX platforms_name ON platforms (app_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX platforms_ingress_hash ON platforms (ingress_hash) WHERE ingress_hash IS NOT NULL;
CREATE UNIQUE INDEX platforms_old_ingress_hash ON platforms (old_ingress_hash) WHERE old_ingress_hash IS NOT NULL;

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
    -- JSON: platforms and environments whose events are wanted; an empty list means all.
    filter TEXT NOT NULL,
    settings TEXT NOT NULL,
    -- Encrypted; NULL once it is deleted.
    secret TEXT,
    -- Whether requests about one user are made one after the other.
    per_user BOOLEAN NOT NULL,
    per_request BIGINT NOT NULL,
    -- Which user attributes it keeps profiles of: `documented` or `extended`; NULL where it keeps none.
    profile TEXT,
    -- Maximum number of requests a second (NULL for no limit), and of concurrent ones, over all processes.
    rate BIGINT,
    concurrency BIGINT NOT NULL,
    -- JSON: the waits between attempts in seconds; NULL for the default of its kind.
    schedule TEXT,
    enabled BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    since BIGINT NOT NULL,
    -- When the events that it chose changed last: by its choice, its filter or a change of a platform; NULL if never.
    chosen_at BIGINT,
    -- Its settings changed, and the waiting deliveries after this sequence number are still to be reconsidered; NULL
    -- when none are.
    reconsider_after BIGINT,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX destinations_name ON destinations (app_id, name) WHERE deleted_at IS NULL;

-- The health of a destination. Written by failures and by the first success after them; by every claim only where it has
-- a rate.
CREATE TABLE health (
    destination_id TEXT NOT NULL PRIMARY KEY REFERENCES destinations (id),
    -- Failures in a row, each about another purchase or device than the one before, as `purchase/…` or `device/…`.
    failures BIGINT NOT NULL,
    last_failed_subject TEXT,
    last_error TEXT,
    first_failure_at BIGINT,
    last_failure_at BIGINT,
    last_success_at BIGINT,
    -- The breaker: when it opened, when the last probe was sent, when the destination recovered.
    opened_at BIGINT,
    probed_at BIGINT,
    recovered_at BIGINT,
    -- When a person requested a retry of everything that had been tried, and when its settings or secrets were changed.
    retry_requested_at BIGINT,
    changed_at BIGINT,
    -- When the pause ends that its `Retry-After` requested.
    paused_until BIGINT,
    -- When its rate allows the next request.
    next_slot_at BIGINT NOT NULL,
    -- Number of warnings sent that it will be disabled.
    warned BIGINT NOT NULL,
    -- Whether an event announced its trouble to operators, and none announced the end of it yet.
    is_announced BOOLEAN NOT NULL,
    -- The back-off was cancelled in the runs of purchases with a delivery tried up to this time.
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
    -- NULL once it is settled: then it is the purchase's.
    app_user_id TEXT,
    -- `{}` once it is settled, a duplicate, or pruned: nothing reads it then.
    body TEXT NOT NULL,
    -- NULL once it is settled.
    traceparent TEXT,
    accepted_at BIGINT NOT NULL,
    -- When its window ends, and when `max_wait` ends it anyway, by the platform's settings at its acceptance.
    due_at BIGINT NOT NULL,
    cap_at BIGINT,
    -- The key by which duplicate notifications are found: a hash of store time and store type. NULL for a duplicate, and
    -- for a row that is refused, not trusted yet or has no store time.
    duplicate_key BIGINT,
    waiting_topic_id TEXT,
    outcome TEXT,
    revision BIGINT,
    reason TEXT,
    finished_at BIGINT,
    -- When a settling left it open to wait for the next wake of its purchase; NULL while it does not wait for that.
    waits_since BIGINT,
    -- Number of wakes by the sweep that no settling followed: NULL before the first, 0 while that is sent; and when the
    -- sweep takes it next, if not at the end of its window.
    wakes BIGINT,
    sweep_at BIGINT,
    -- When its body was removed because of its age.
    pruned_at BIGINT
);
-- One message can report two types about one receipt: so the type belongs to the identity. The purchase stands for its
-- receipt and platform; a notification that names no purchase has an identity by these.
CREATE UNIQUE INDEX notifications_identity ON notifications (message_id, store_type, collapse_key);
CREATE UNIQUE INDEX notifications_unreadable ON notifications (message_id, receipt_id, store_type, platform_id)
    WHERE collapse_key IS NULL;
-- Finds duplicates, and the rows of a purchase. One index for both: each further index with unordered keys costs a page
-- per row.
CREATE UNIQUE INDEX notifications_of_key ON notifications (collapse_key, duplicate_key);
-- What a window, the dispatcher or the sweep has to end: nothing in these three waits for a topic, the store or a person.
CREATE INDEX notifications_open ON notifications (seq)
    WHERE outcome IS NULL AND waiting_topic_id IS NULL AND waits_since IS NULL;
CREATE INDEX notifications_due
    ON notifications (COALESCE(sweep_at, CASE WHEN cap_at < due_at THEN cap_at ELSE due_at END))
    WHERE outcome IS NULL AND waiting_topic_id IS NULL AND waits_since IS NULL AND wakes IS NULL;
CREATE INDEX notifications_woken ON notifications (sweep_at)
    WHERE outcome IS NULL AND waiting_topic_id IS NULL AND waits_since IS NULL AND wakes IS NOT NULL;
CREATE INDEX notifications_receipt ON notifications (receipt_id) WHERE outcome IS NULL;
-- For the outcomes of adopted purchases.
CREATE INDEX notifications_imported ON notifications (platform_id, outcome) WHERE store_type = 'IMPORTED';
CREATE INDEX notifications_waiting ON notifications (waiting_topic_id, seq)
    WHERE outcome IS NULL AND waiting_topic_id IS NOT NULL;
-- What was refused with a topic that nobody approved: of these, the newest remain.
CREATE INDEX notifications_distrusted ON notifications (platform_id, seq)
    WHERE waiting_topic_id IS NOT NULL AND outcome = 'refused';
-- For lists of what went wrong, which is little.
CREATE INDEX notifications_not_settled ON notifications (outcome, seq)
    WHERE outcome IN ('refused', 'discarded', 'unknown', 'given_up');
-- For the retention: what has ended and still has its body.
CREATE INDEX notifications_unpruned ON notifications (finished_at) WHERE body <> '{}' AND outcome IS NOT NULL;

-- A record of the accepted notifications: with it the audit finds a notification whose row is gone. Written in the
-- transaction of the notifications, one row for up to sixteen of them, and changed only when a stranger's refused
-- notifications are removed.
CREATE TABLE acceptances (
    -- The lowest sequence number in the row; the others are at most 255 higher.
    seq INTEGER NOT NULL PRIMARY KEY,
    -- JSON: the sequence number of each notification, and its purchase or null.
    notifications TEXT NOT NULL
);

-- The owners of purchases. A user is anonymous until an admin names the user's own id (`external_id`).
CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    external_id TEXT,
    -- The id of the customer's device in the app's analytics: the one that the app gave with the customer, else that of the
    -- device with the first verified claim, if that came before the first announcement.
    analytics_device_id TEXT,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
-- The id comes first: people search for it without naming the app.
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

-- The customers of stores that were forgotten, by what stands for the store's id of them: computed from it with the
-- installation's key.
CREATE TABLE tombstones (
    tombstone TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    -- The store's id, encrypted, for queries of the store alone.
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX tombstones_app ON tombstones (app_id);

-- Requests to forget a customer, and what was done.
CREATE TABLE forgettings (
    id TEXT NOT NULL PRIMARY KEY,
    -- What stands for the name in the request, by which a repeated one is recognized: computed with the installation's
    -- key.
    request TEXT NOT NULL,
    app_id TEXT NOT NULL REFERENCES apps (id),
    -- The anonymous user in the place of the customer.
    user_id TEXT NOT NULL REFERENCES users (id),
    requested_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    -- JSON, encrypted: the names. NULL once they are removed everywhere and every destination was asked.
    names TEXT,
    -- What is done next, and after which row; `destinations` while destinations are asked, `done` at the end.
    stage TEXT NOT NULL,
    after_seq BIGINT NOT NULL,
    -- JSON: number of changed rows by table.
    counts TEXT NOT NULL,
    -- JSON: by destination, whether and when it was asked to delete the user.
    destinations TEXT NOT NULL,
    -- When the destinations are asked next.
    due_at BIGINT NOT NULL,
    requested_at BIGINT NOT NULL,
    -- When the names were removed everywhere, and when all was done.
    removed_at BIGINT,
    finished_at BIGINT
);
CREATE INDEX forgettings_open ON forgettings (due_at) WHERE finished_at IS NULL;
CREATE INDEX forgettings_unremoved ON forgettings (app_id) WHERE removed_at IS NULL;
CREATE INDEX forgettings_request ON forgettings (request);
CREATE INDEX forgettings_user ON forgettings (user_id);

-- Installations of apps on devices, as they described themselves last.
CREATE TABLE devices (
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    -- Made by the app: another platform may have the same.
    id TEXT NOT NULL,
    -- JSON: versions of the app, the system and the client; the first launch.
    device TEXT NOT NULL,
    -- The SHA-256 of the secret that its first request showed. NULL: it showed none, and may report alone, for ever.
    secret_hash TEXT,
    -- The user to whom it belongs since a login or a verified claim. NULL: its anonymous user, whose id is computed from
    -- the device and the number of its logouts.
    user_id TEXT REFERENCES users (id),
    logouts BIGINT NOT NULL DEFAULT 0,
    -- Whether the customer's own server signed the login: then the device may use all purchases of its user.
    is_signed BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL,
    -- When it sent the last request.
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (platform_id, id)
);
CREATE INDEX devices_user ON devices (user_id) WHERE user_id IS NOT NULL;

-- The receipts that devices reported. A claim counts once the store confirmed that the receipt is this customer's.
CREATE TABLE claims (
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    device_id TEXT NOT NULL,
    collapse_key TEXT NOT NULL,
    receipt_id TEXT NOT NULL,
    app_user_id TEXT NOT NULL,
    -- `pending`, `verified` or `refused`; and why it is refused, or still pending.
    status TEXT NOT NULL,
    reason TEXT,
    -- `purchased` or `restored` on the device, or `present` there at the start of a session.
    kind TEXT NOT NULL,
    -- What a transaction says beside; NULL where it does not.
    sku TEXT,
    price TEXT,
    currency TEXT,
    marketplace TEXT,
    -- When it happened, by our clock.
    occurred_at BIGINT NOT NULL,
    -- Queries of the store for this claim alone, and when the next step is due.
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    verified_at BIGINT,
    -- The network that reported it, as a keyed hash. Empty where it counts nowhere: it is verified, or its purchase was known.
    network TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (platform_id, device_id, collapse_key)
);
-- In the order in which they were verified.
CREATE INDEX claims_of_key ON claims (collapse_key, verified_at);
CREATE INDEX claims_due ON claims (platform_id, due_at) WHERE status = 'pending';
-- How many of a network and of a platform wait, and which is the newest of a network. With the status no row is read to count.
CREATE INDEX claims_waiting ON claims (platform_id, network, created_at, status) WHERE status = 'pending';
-- A refused claim is removed when it is due.
CREATE INDEX claims_refused ON claims (due_at) WHERE status = 'refused';
-- For a customer of the store who is forgotten.
CREATE INDEX claims_customer ON claims (platform_id, app_user_id, device_id, collapse_key);

-- What the devices of a platform used of a day (UTC), by the number of the day since 1970-01-01.
CREATE TABLE device_days (
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    day BIGINT NOT NULL,
    events BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    -- Devices, and customers named by a login, that were new.
    devices BIGINT NOT NULL,
    users BIGINT NOT NULL,
    PRIMARY KEY (platform_id, day)
);

-- The sessions of the app on a device.
CREATE TABLE device_sessions (
    platform_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    id TEXT NOT NULL,
    -- NULL while its start is not reported.
    started_at BIGINT,
    -- The time of its newest event, and when it ends without another one.
    last_event_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    closed_at BIGINT,
    PRIMARY KEY (platform_id, device_id, id)
);
CREATE INDEX device_sessions_open ON device_sessions (due_at) WHERE closed_at IS NULL;
-- The end of a device's newest session.
CREATE INDEX device_sessions_closed ON device_sessions (platform_id, device_id, closed_at) WHERE closed_at IS NOT NULL;
-- For the retention.
CREATE INDEX device_sessions_ended ON device_sessions (due_at) WHERE closed_at IS NOT NULL;

-- What devices reported, one row per event.
CREATE TABLE device_events (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    device_id TEXT NOT NULL,
    -- The app's own id of it, by which a repeated report is recognized.
    client_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    session_id TEXT,
    -- That of its platform when it was received.
    environment TEXT NOT NULL,
    -- When it happened, by our clock.
    occurred_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX device_events_identity ON device_events (device_id, client_id, platform_id);
CREATE UNIQUE INDEX device_events_id ON device_events (id);

-- Events of devices that are owed to destinations, and how they ended.
CREATE TABLE device_deliveries (
    destination_id TEXT NOT NULL REFERENCES destinations (id),
    event_seq BIGINT NOT NULL REFERENCES device_events (seq),
    device_id TEXT NOT NULL,
    -- `pending`, or how it ended: `delivered`, `dead` or `skipped`.
    status TEXT NOT NULL,
    -- Attempts that count as steps of the schedule, and those of them in which the destination refused this event.
    attempts BIGINT NOT NULL,
    refusals BIGINT NOT NULL DEFAULT 0,
    -- The webhook-id of the request with several events in which it was sent last: what is owed of these is sent together
    -- again, so that a repeated request is the same.
    batch_id TEXT,
    next_due_at BIGINT NOT NULL,
    -- When it was sent first and last, and of the last time: how it went, the status of the answer, and how long it took.
    first_tried_at BIGINT,
    tried_at BIGINT,
    last_class TEXT,
    last_status BIGINT,
    latency_ms BIGINT,
    last_error TEXT,
    finished_at BIGINT,
    PRIMARY KEY (event_seq, destination_id)
);
CREATE INDEX device_deliveries_pending ON device_deliveries (destination_id, device_id, event_seq)
    WHERE status = 'pending';
CREATE INDEX device_deliveries_batch ON device_deliveries (batch_id) WHERE status = 'pending' AND batch_id IS NOT NULL;
CREATE INDEX device_deliveries_dead ON device_deliveries (event_seq) WHERE status = 'dead';
CREATE INDEX device_deliveries_skipped ON device_deliveries (event_seq) WHERE status = 'skipped';

-- Who delivers what a destination is owed of devices.
CREATE TABLE streams (
    destination_id TEXT NOT NULL PRIMARY KEY REFERENCES destinations (id),
    lease_token TEXT,
    lease_until BIGINT,
    -- Whether it waits for a place; then the first one is kept for it.
    is_waiting BOOLEAN NOT NULL DEFAULT FALSE,
    -- When an event was sent last although the breaker was open.
    probed_at BIGINT
);

-- Moves of store customers from one user to another, with the purchases of each.
CREATE TABLE transfers (
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    from_user_id TEXT NOT NULL REFERENCES users (id),
    to_user_id TEXT NOT NULL REFERENCES users (id),
    -- `login`, `naming`, `admin` or `undo`.
    cause TEXT NOT NULL,
    -- JSON: the store customers that moved, and the purchases that moved with events.
    moved TEXT NOT NULL,
    -- The person who moved them, and the reason.
    author TEXT,
    reason TEXT,
    -- The transfer that this one takes back.
    undoes TEXT REFERENCES transfers (id),
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX transfers_undoes ON transfers (undoes) WHERE undoes IS NOT NULL;
CREATE INDEX transfers_from ON transfers (from_user_id);
CREATE INDEX transfers_to ON transfers (to_user_id);

-- Whether a device may move what one named customer has to another, who logged in on it: one question for both, and the answer is kept.
-- Who answered, and why, is in the acts.
CREATE TABLE transfer_reviews (
    -- It follows from both users.
    id TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id),
    -- The platform of the device that brought it first.
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    from_user_id TEXT NOT NULL REFERENCES users (id),
    to_user_id TEXT NOT NULL REFERENCES users (id),
    requested_at BIGINT NOT NULL,
    -- NULL while nobody has answered.
    is_approved BOOLEAN,
    answered_at BIGINT
);
CREATE INDEX transfer_reviews_open ON transfer_reviews (app_id, requested_at, id) WHERE answered_at IS NULL;
CREATE INDEX transfer_reviews_from ON transfer_reviews (from_user_id) WHERE answered_at IS NULL;

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
    -- JSON: a list of prices, each with an optional time from which it holds.
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
    -- The first owner. It never changes, even if that user is merged into another.
    first_user_id TEXT REFERENCES users (id),
    revision BIGINT NOT NULL,
    -- The digest of `data` as it was announced last; empty before the first announcement.
    digest TEXT NOT NULL,
    -- The same without when devices were seen last: a change of it is a revision.
    content_digest TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    -- The environment in which it counts, as recorded last: a test purchase counts in the sandbox on every platform.
    -- NULL before the first record.
    environment TEXT,
    purchase TEXT NOT NULL,
    -- The SKUs of its product as the store showed them: the term's and the parent's.
    term_sku TEXT,
    product_id TEXT,
    -- What open notifications up to `waits_through` wait for after their window: `verification`, `confirmation` or
    -- `parked`.
    waits_for TEXT,
    waits_through BIGINT,
    -- The first failed query since the store last answered, and the number of failed queries since then.
    unverified_since BIGINT,
    verify_attempts BIGINT NOT NULL,
    -- The number of the last settling, and the fingerprint of the notifications that it settled. A recheck raises the
    -- number too, so that a settling that began before is not recorded.
    settling BIGINT NOT NULL,
    fingerprint TEXT NOT NULL,
    held_until BIGINT,
    held_by TEXT,
    held_reason TEXT,
    next_wake_at BIGINT,
    -- Why it is woken then: `person`, `setting` or `calendar`; the sweep takes them in this order.
    urgency TEXT NOT NULL DEFAULT 'calendar',
    -- The next wake for which the sweep woke it, and no settling followed: how often, and when it does so again. A run
    -- that queries the store later wakes by itself, and counts as woken once.
    woken_for BIGINT,
    wakes BIGINT,
    sweep_at BIGINT,
    -- The number of its entries in the ledger (table `payments`).
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
CREATE INDEX purchases_term_sku ON purchases (app_id, term_sku, product_id);
CREATE INDEX purchases_product ON purchases (app_id, product_id) WHERE product_id IS NOT NULL;
CREATE INDEX purchases_order ON purchases (updated_at, collapse_key);
CREATE INDEX purchases_state ON purchases (state, updated_at, collapse_key);
CREATE INDEX purchases_held ON purchases (held_until) WHERE held_until IS NOT NULL;
CREATE INDEX purchases_platform ON purchases (platform_id, updated_at, collapse_key);
CREATE INDEX purchases_wake ON purchases (platform_id, urgency, next_wake_at)
    WHERE next_wake_at IS NOT NULL AND woken_for IS DISTINCT FROM next_wake_at;
CREATE INDEX purchases_woken ON purchases (platform_id, sweep_at) WHERE woken_for = next_wake_at;
CREATE INDEX purchases_waiting ON purchases (platform_id, next_wake_at)
    WHERE (waits_for IS NOT NULL OR waits_through IS NOT NULL);

-- Notes of rechecks of many purchases that are not done yet. Reasons: `secret`, `failures`, `environment`,
-- `product_ref` or `parked` of a platform, `catalogue` of an app. The last batch deletes the row.
CREATE TABLE rechecks (
    why TEXT NOT NULL,
    -- The platform or the app.
    subject_id TEXT NOT NULL,
    app_id TEXT NOT NULL REFERENCES apps (id),
    requested_at BIGINT NOT NULL,
    -- For `secret`: when the store began to refuse the secret before the new one; NULL if it did not.
    refused_at BIGINT,
    -- The last purchase that was walked; the purchases of the app are walked in the order of their keys.
    after_key TEXT NOT NULL,
    PRIMARY KEY (why, subject_id)
);

-- The SKUs whose listings changed: the recheck for the catalogue of an app rechecks their purchases.
CREATE TABLE recheck_skus (
    app_id TEXT NOT NULL REFERENCES apps (id),
    sku TEXT NOT NULL,
    PRIMARY KEY (app_id, sku)
);

-- A change of plan over two receipts, stored as soon as it is reported. `real_at`: since when the new purchase is known
-- to be real.
CREATE TABLE replacements (
    old_key TEXT NOT NULL PRIMARY KEY,
    new_key TEXT NOT NULL,
    real_at BIGINT,
    created_at BIGINT NOT NULL,
    -- Whether it was inferred from the store's reason and the dates of both receipts, without a notification.
    is_inferred BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX replacements_new ON replacements (new_key);

CREATE TABLE events (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    -- The purchase; for an event about a destination, the id of that destination.
    collapse_key TEXT NOT NULL,
    -- The app of its purchase, its destination or its user; for lists alone.
    app_id TEXT,
    event_type TEXT NOT NULL,
    revision BIGINT NOT NULL,
    -- The user, and the revision of the user that the event carries; `purchase.updated` carries none.
    user_id TEXT,
    user_revision BIGINT,
    -- When it happened, by the store's clock, if that is known.
    occurred_at BIGINT,
    -- The environment of its purchase when the event was recorded. It decides which destinations are owed the event,
    -- and never changes. NULL for an event about a destination.
    environment TEXT,
    body TEXT NOT NULL,
    -- JSON: the user's state over their purchases in the environment of this event; NULL when `body` has the same.
    state_apart TEXT,
    -- JSON: the extended attributes of the user in that environment; NULL when no destination keeps them.
    profile TEXT,
    -- JSON: both, over the purchases on the platforms that a destination wants, for each platform filter; NULL without
    -- one.
    views TEXT,
    traceparent TEXT,
    created_at BIGINT NOT NULL,
    -- When its body was reduced, because of its age, to what the audit and receivers need.
    pruned_at BIGINT
);
CREATE UNIQUE INDEX events_id ON events (id);
CREATE INDEX events_of_key ON events (collapse_key, event_type, seq);
CREATE INDEX events_of_user ON events (user_id, user_revision) WHERE user_id IS NOT NULL;
CREATE INDEX events_created ON events (created_at, seq);
-- For lists. Events of the sandbox are few, and people look for them among the others.
CREATE INDEX events_of_app ON events (app_id, seq);
CREATE INDEX events_of_type ON events (event_type, seq);
CREATE INDEX events_sandbox ON events (app_id, seq) WHERE environment = 'sandbox';
-- For the retention: what still has its body.
CREATE INDEX events_unpruned ON events (seq) WHERE pruned_at IS NULL;

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
    -- When its first attempt began, and the last one that failed or was a probe. A delivery that a `Retry-After` holds back
    -- counts as attempted when that was received.
    first_tried_at BIGINT,
    tried_at BIGINT,
    -- The body and the environment in which it is sent: both are frozen at the first claim, and NULL before. The body is
    -- NULL again once the delivery ended: a redelivery is another one.
    body TEXT,
    environment TEXT,
    -- The device id of the customer that the body was rendered with; NULL also where there was none. It stays, for a
    -- redelivery has the same.
    analytics_device_id TEXT,
    -- The `nameless_device_id` of the lane, if the body has it and the customer's name.
    joined_device_id TEXT,
    -- The revenue in the body, in USD; below 0 for a refund. NULL when the body has none, and before the first claim.
    revenue TEXT,
    last_error TEXT,
    -- NULL once it ended.
    traceparent TEXT,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    -- When its attempts were removed because of their age.
    pruned_at BIGINT
);
CREATE UNIQUE INDEX deliveries_id ON deliveries (id);
CREATE UNIQUE INDEX deliveries_event ON deliveries (event_id, destination_id, n);
CREATE INDEX deliveries_of_key ON deliveries (collapse_key, destination_id, seq);
-- By destination: only what is owed or did not arrive. An index of all would cost each delivery for ever.
CREATE INDEX deliveries_of_destination ON deliveries (destination_id, seq) WHERE status = 'pending';
CREATE INDEX deliveries_waiting_of_destination ON deliveries (destination_id, seq) WHERE status = 'waiting';
CREATE INDEX deliveries_dead_of_destination ON deliveries (destination_id, seq) WHERE status = 'dead';
CREATE INDEX deliveries_skipped_of_destination ON deliveries (destination_id, seq) WHERE status = 'skipped';
CREATE INDEX deliveries_pending ON deliveries (collapse_key, destination_id, seq) WHERE status = 'pending';
-- Without the status: SQLite has no statistics here, and would prefer it to the index of a destination. PostgreSQL has them.
CREATE INDEX deliveries_owed ON deliveries (seq) WHERE status = 'pending';
CREATE INDEX deliveries_dead ON deliveries (status, seq) WHERE status = 'dead';
CREATE INDEX deliveries_due ON deliveries (destination_id, next_due_at) WHERE status = 'pending';
-- Deliveries that were tried before a destination recovered are due since the recovery.
CREATE INDEX deliveries_tried ON deliveries (destination_id, tried_at) WHERE status = 'pending';
CREATE INDEX deliveries_waiting ON deliveries (collapse_key, destination_id, seq) WHERE status = 'waiting';
-- For those that waited too long.
CREATE INDEX deliveries_waiting_since ON deliveries (created_at) WHERE status = 'waiting';
-- For lists.
CREATE INDEX deliveries_unnamed ON deliveries (seq) WHERE status = 'waiting';
CREATE INDEX deliveries_skipped ON deliveries (seq) WHERE status = 'skipped';
-- Owed deliveries that a newer state does not supersede.
CREATE INDEX deliveries_news ON deliveries (destination_id, seq)
    WHERE status IN ('pending', 'waiting') AND event_type <> 'purchase.updated';
-- For the retention: what has ended and still has all its attempts.
CREATE INDEX deliveries_unpruned ON deliveries (finished_at) WHERE pruned_at IS NULL AND finished_at IS NOT NULL;

CREATE TABLE attempts (
    delivery_id TEXT NOT NULL REFERENCES deliveries (id),
    number BIGINT NOT NULL,
    token TEXT NOT NULL,
    -- What made it: the run of the purchase (`lane`), or that of the destination (`drain`, `probe`); and whether it
    -- used up a step of the schedule.
    mode TEXT NOT NULL,
    counts BOOLEAN NOT NULL,
    -- NULL until the attempt is finished; it stays NULL if the worker died.
    finished_at BIGINT,
    started_at BIGINT NOT NULL,
    latency_ms BIGINT,
    status BIGINT,
    class TEXT,
    error TEXT,
    -- JSON: some headers of the answer.
    headers TEXT,
    response TEXT,
    -- When the next attempt was due after this one.
    next_due_at BIGINT,
    PRIMARY KEY (delivery_id, number)
);

CREATE TABLE lanes (
    destination_id TEXT NOT NULL REFERENCES destinations (id),
    collapse_key TEXT NOT NULL,
    acked_revision BIGINT,
    -- When the destination's `Retry-After` for this purchase was received, and until when it holds.
    retry_after_received_at BIGINT,
    retry_after_until BIGINT,
    -- The device id of the events that were sent without the customer's name, until one with both has arrived.
    nameless_device_id TEXT,
    PRIMARY KEY (destination_id, collapse_key)
);

-- The places of a destination: as many as requests that it takes at once, and one for its probe. A request leases a place
-- until it is finished, or until a time if its worker dies.
CREATE TABLE leases (
    destination_id TEXT NOT NULL,
    -- From 0; -1 for the probe.
    place BIGINT NOT NULL,
    -- NULL while the place is free, and while the stream of device events has it.
    collapse_key TEXT,
    -- The user of the last request, if the destination gets requests user by user.
    user_id TEXT,
    lease_token TEXT,
    -- 0 while it is free.
    lease_until BIGINT NOT NULL,
    PRIMARY KEY (destination_id, place)
);
CREATE INDEX leases_of_lane ON leases (destination_id, collapse_key) WHERE collapse_key IS NOT NULL;
CREATE INDEX leases_of_stream ON leases (destination_id) WHERE collapse_key IS NULL AND lease_token IS NOT NULL;

-- The users that requests are about, for destinations that get requests user by user. After the purchases of a user became
-- another one's, a request has a row for each.
CREATE TABLE user_leases (
    destination_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    lease_token TEXT NOT NULL,
    lease_until BIGINT NOT NULL,
    PRIMARY KEY (destination_id, user_id, lease_token)
);
CREATE INDEX user_leases_of_request ON user_leases (destination_id, lease_token);

-- The states of a user in an environment, for a destination that is sent one request about a user at a time: the newest
-- revision that it acknowledged, and the newest that was sent or about to be sent, so that it may have it.
CREATE TABLE user_lanes (
    destination_id TEXT NOT NULL REFERENCES destinations (id),
    user_id TEXT NOT NULL,
    environment TEXT NOT NULL,
    acked_revision BIGINT,
    sent_revision BIGINT,
    -- When the pause for this user ends that the destination requested.
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
    -- `owed`; `lost` when it did not arrive and the next settling owes it again; `left` when it did not arrive and only
    -- another state, or a backfill, owes it again.
    arrival TEXT NOT NULL,
    -- Number of deliveries in a row that died with this state.
    deaths BIGINT NOT NULL,
    -- The known attributes that may become unknown, with commas between them.
    shown TEXT NOT NULL,
    PRIMARY KEY (destination_id, user_id, environment)
);

CREATE TABLE alarms (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- When it was raised first and last, and how often.
    at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    times BIGINT NOT NULL,
    -- What it is about, and the app of that. All are NULL where it concerns all apps.
    app_id TEXT,
    platform_id TEXT,
    destination_id TEXT,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    -- It follows from platform or destination, kind and detail.
    id TEXT NOT NULL,
    -- When a person acknowledged it, who, and what they noted. NULL again once it is raised again.
    acknowledged_at BIGINT,
    acknowledged_by TEXT,
    note TEXT
);
CREATE UNIQUE INDEX alarms_id ON alarms (id);
CREATE UNIQUE INDEX alarms_same ON alarms (kind, detail, COALESCE(platform_id, destination_id, ''));
CREATE INDEX alarms_order ON alarms (last_at, seq);
CREATE INDEX alarms_open ON alarms (last_at, seq) WHERE acknowledged_at IS NULL;

-- What happened in each minute, as all processes counted it. Rows of some days ago are removed.
CREATE TABLE minutes (
    -- `accepted`, `refused`, `lag`, `delivered`, `failed` or `latency`.
    series TEXT NOT NULL,
    -- The beginning of the minute.
    at BIGINT NOT NULL,
    -- Empty where the app, or the destination, is not known or there is none.
    app_id TEXT NOT NULL,
    destination_id TEXT NOT NULL,
    times BIGINT NOT NULL,
    -- Of what takes time: the sum, and the longest.
    total_ms BIGINT NOT NULL,
    longest_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX minutes_of_series ON minutes (series, at, app_id, destination_id);
CREATE INDEX minutes_of_app ON minutes (app_id, series, at);
CREATE INDEX minutes_of_destination ON minutes (destination_id, series, at) WHERE destination_id <> '';

-- The answers to a platform's store: one row for each reason of a refusal, and one with an empty reason for what was
-- accepted.
CREATE TABLE arrivals (
    platform_id TEXT NOT NULL REFERENCES platforms (id),
    reason TEXT NOT NULL,
    times BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX arrivals_of_platform ON arrivals (platform_id, reason);

-- When an event of a purchase of the platform was delivered first.
CREATE TABLE first_deliveries (
    platform_id TEXT NOT NULL PRIMARY KEY REFERENCES platforms (id),
    delivered_at BIGINT NOT NULL
);

-- The last sweep.
CREATE TABLE sweeps (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    -- NULL before the first.
    finished_at BIGINT,
    -- When its workflow was started again, because no sweep had finished for a while.
    restarted_at BIGINT,
    -- The run of its workflow that swept last, and when Temporal was found to have lost that run and all others.
    run_id TEXT,
    emptied_at BIGINT
);

-- How far the retention walked the events in search of bodies that are not needed; at the end it restarts.
CREATE TABLE retention (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    through BIGINT NOT NULL
);

-- The answers to pages of a named redelivery: a page that is requested again gets the same answer and owes nothing. The
-- cursor of the first page is empty; `request_digest` shows whether the request is still the same.
CREATE TABLE pages (
    run TEXT NOT NULL,
    cursor TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (run, cursor)
);
CREATE INDEX pages_at ON pages (at);

-- The ledger: the price of each payment of a purchase, and the entries that changed it since. Rows are only added, and
-- only the reason of an unknown price is changed later.
CREATE TABLE payments (
    collapse_key TEXT NOT NULL,
    -- The number of the term that was paid, from 1; below 0 where terms cannot be counted.
    number BIGINT NOT NULL,
    -- 0 is the payment; higher numbers are the changes of it, in their order.
    entry BIGINT NOT NULL,
    app_id TEXT NOT NULL REFERENCES apps (id),
    -- `production`, or `sandbox` in the store's test environment.
    environment TEXT NOT NULL,
    -- `initial`, `renewal`, `trial_conversion`, `recovery`, `plan_change`; `refund`, `restored`, `correction`.
    kind TEXT NOT NULL,
    -- The event that announces it, and another one that announces the same payment: a conversion is also a renewal.
    event_id TEXT NOT NULL,
    other_event_id TEXT,
    occurred_at BIGINT NOT NULL,
    sku TEXT,
    price TEXT,
    currency TEXT,
    -- The amount in USD that it adds; or why that is unknown.
    usd TEXT,
    unknown_because TEXT,
    -- The source of the amount: `catalogue`, `device`, `store` or `report`.
    source TEXT NOT NULL,
    -- The store's id of the transaction, if the amount comes from a sales report.
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
    -- A transaction can be refunded in parts: the time of this part (micros); 0 for a charge.
    returned_at BIGINT NOT NULL,
    receipt_id TEXT NOT NULL,
    sku TEXT NOT NULL,
    price TEXT NOT NULL,
    currency TEXT NOT NULL,
    sold_at BIGINT NOT NULL,
    -- The day of the sale (`2026-01-31`), whose rate converts the price to USD.
    day TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (app_id, transaction_id, kind, returned_at)
);
CREATE INDEX sales_receipt ON sales (app_id, receipt_id);
CREATE INDEX sales_day ON sales (app_id, currency, day);
