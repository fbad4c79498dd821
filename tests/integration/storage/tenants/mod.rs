//! The cost of one tenant's lists while other tenants have many rows: none of those rows are read, on either database.

mod filled;

use super::world::{World, new_platform, story};
use domain::{
    DestinationId, DeviceId, Environment, EventId, KeyId, Outcome, PlatformId, State, Timestamp,
    UserId,
};
use filled::fill;
use std::fmt::Display;
use storage::{
    AlarmFilter, AuditLogFilter, DeliveryFilter, DeliveryStatus, DeviceEventFilter, Error,
    EventFilter, NotificationFilter, OutcomeFilter, Page, PaymentSubject, PurchaseFilter,
    RevenueFilter, Series, SeriesFilter, Store, StreamStatus,
};
use system_tests::rows;
use system_tests::wait;
use system_tests::world::SOON;
use uuid::Uuid;

/// Number of other tenants' rows in each table. The tenant had as many when PostgreSQL analysed the tables.
const OTHERS: i64 = 20_000;
/// Maximum cost of a list on SQLite, in units of ten thousand steps: reading a row takes at least six steps.
const STEPS: u64 = 4;
/// Maximum number of rows of a table that all lists together read on PostgreSQL.
const READ: i64 = 10_000;

/// A list with its filter, and whether its page is empty and the last one.
type Answered = (String, Result<bool, Error>);

fn is_empty<T>(answer: Result<storage::Paged<T>, Error>) -> Result<bool, Error> {
    answer.map(|page| page.items.is_empty() && page.next_cursor.is_none())
}

/// The answers of each list with each of its filters, for a tenant without rows, and their costs.
struct Lists<'w> {
    world: &'w World,
    answers: Vec<(Answered, u64)>,
}

impl Lists<'_> {
    /// Records an answer, and its cost since `before`.
    fn note(&mut self, what: impl Display, before: u64, answer: Result<bool, Error>) {
        let cost = self.store().cost_of_reads() - before;
        self.answers.push(((what.to_string(), answer), cost));
    }

    fn store(&self) -> &Store {
        &self.world.store
    }

    async fn device_events(&mut self) {
        let app_id = Some(self.world.app.id);
        let of = DeviceEventFilter {
            app_id,
            ..DeviceEventFilter::default()
        };
        let own = DestinationId::new(Uuid::from_u128(7));
        let mut all = vec![
            of.clone(),
            DeviceEventFilter {
                app_id: None,
                platform_id: Some(self.world.platform.id),
                ..of.clone()
            },
            DeviceEventFilter {
                app_id: None,
                destination_id: Some(own),
                ..of.clone()
            },
            DeviceEventFilter {
                device_id: Some(DeviceId::new(Uuid::from_u128(1))),
                ..of.clone()
            },
            DeviceEventFilter {
                event_type: Some("device.impression".to_owned()),
                ..of.clone()
            },
            DeviceEventFilter {
                client_id: Some("none".to_owned()),
                ..of.clone()
            },
            DeviceEventFilter {
                destination_id: Some(own),
                ..of.clone()
            },
        ];
        for status in [
            StreamStatus::Pending,
            StreamStatus::Delivered,
            StreamStatus::Skipped,
            StreamStatus::Failed,
        ] {
            all.push(DeviceEventFilter {
                status: Some(status),
                ..of.clone()
            });
            all.push(DeviceEventFilter {
                status: Some(status),
                destination_id: Some(own),
                ..of.clone()
            });
        }
        for filter in all {
            let (what, before) = (format!("{filter:?}"), self.store().cost_of_reads());
            let answer = is_empty(self.store().device_events(filter, Page::default()).await);
            self.note(what, before, answer);
        }
    }

    async fn deliveries(&mut self) {
        let of = DeliveryFilter {
            app_id: Some(self.world.app.id),
            ..DeliveryFilter::default()
        };
        let own = Some(DestinationId::new(Uuid::from_u128(7)));
        let mut all = vec![
            of.clone(),
            DeliveryFilter {
                app_id: None,
                destination_id: own,
                ..of.clone()
            },
            DeliveryFilter {
                collapse_key: Some(self.world.key("r1")),
                ..of.clone()
            },
        ];
        use DeliveryStatus::{Delivered, Failed, Pending, Skipped, Superseded, Waiting};
        for status in [Pending, Waiting, Delivered, Superseded, Skipped, Failed] {
            all.push(DeliveryFilter {
                status: Some(status),
                ..of.clone()
            });
            all.push(DeliveryFilter {
                status: Some(status),
                app_id: None,
                destination_id: own,
                ..of.clone()
            });
        }
        for filter in all {
            let (what, before) = (format!("{filter:?}"), self.store().cost_of_reads());
            let answer = is_empty(self.store().deliveries(filter, Page::default()).await);
            self.note(what, before, answer);
        }
    }

    async fn notifications(&mut self) {
        let of = NotificationFilter {
            app: Some(self.world.app.id),
            ..NotificationFilter::default()
        };
        let mut all = vec![
            of.clone(),
            NotificationFilter {
                app: None,
                platform: Some(self.world.platform.id),
                ..of.clone()
            },
            NotificationFilter {
                outcome: Some(OutcomeFilter::Open),
                ..of.clone()
            },
            NotificationFilter {
                from: Some(Timestamp::from_micros(1)),
                ..of.clone()
            },
            NotificationFilter {
                until: Some(Timestamp::from_micros(i64::MAX / 2)),
                ..of.clone()
            },
        ];
        let outcomes = [
            Outcome::Settled,
            Outcome::NoChange,
            Outcome::Duplicate,
            Outcome::Refused,
            Outcome::Unknown,
        ];
        all.extend(outcomes.map(|one| NotificationFilter {
            outcome: Some(OutcomeFilter::Is(one)),
            ..of.clone()
        }));
        for filter in all {
            let (what, before) = (format!("{filter:?}"), self.store().cost_of_reads());
            let answer = is_empty(self.store().notifications(filter, Page::default()).await);
            self.note(what, before, answer);
        }
    }

    async fn purchases(&mut self) {
        let of = PurchaseFilter {
            app_id: Some(self.world.app.id),
            ..PurchaseFilter::default()
        };
        let text = |text: &str| Some(text.to_owned());
        let mut all = vec![
            of.clone(),
            PurchaseFilter {
                app_id: None,
                platform_id: Some(self.world.platform.id),
                ..of.clone()
            },
            PurchaseFilter {
                receipt_id: text("r"),
                ..of.clone()
            },
            PurchaseFilter {
                app_user_id: text("x"),
                ..of.clone()
            },
            PurchaseFilter {
                external_id: text("x30000"),
                ..of.clone()
            },
            PurchaseFilter {
                user_id: Some(UserId::new(Uuid::from_u128(1))),
                ..of.clone()
            },
        ];
        all.extend(State::ALL.iter().map(|state| PurchaseFilter {
            state: Some(*state),
            ..of.clone()
        }));
        all.extend([true, false].map(|held| PurchaseFilter {
            held: Some(held),
            ..of.clone()
        }));
        all.extend([true, false].map(|failing| PurchaseFilter {
            failing: Some(failing),
            ..of.clone()
        }));
        for filter in all {
            let (what, before) = (format!("{filter:?}"), self.store().cost_of_reads());
            let answer = is_empty(self.store().purchases(filter, Page::default()).await);
            self.note(what, before, answer);
        }
    }

    async fn events(&mut self) {
        let of = EventFilter {
            app_id: Some(self.world.app.id),
            ..EventFilter::default()
        };
        let types = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut all = vec![
            of.clone(),
            EventFilter {
                app_id: None,
                platform_id: Some(self.world.platform.id),
                ..of.clone()
            },
            EventFilter {
                id: Some(EventId::new(Uuid::from_u128(1))),
                ..of.clone()
            },
            EventFilter {
                collapse_key: Some(self.world.key("r1")),
                ..of.clone()
            },
            EventFilter {
                user_id: Some(UserId::new(Uuid::from_u128(1))),
                ..of.clone()
            },
            EventFilter {
                types: types(&["purchase.updated"]),
                ..of.clone()
            },
            EventFilter {
                types: types(&["purchase.updated", "user.subscription.renewed"]),
                ..of.clone()
            },
            EventFilter {
                from: Some(Timestamp::from_micros(1)),
                ..of.clone()
            },
            EventFilter {
                until: Some(Timestamp::from_micros(i64::MAX / 2)),
                ..of.clone()
            },
        ];
        let environments = [Environment::Production, Environment::Sandbox];
        all.extend(environments.map(|one| EventFilter {
            environment: Some(one),
            ..of.clone()
        }));
        for filter in all {
            let (what, before) = (format!("{filter:?}"), self.store().cost_of_reads());
            let answer = is_empty(self.store().events(filter, Page::default()).await);
            self.note(what, before, answer);
        }
    }

    async fn operators(&mut self) {
        let of = AlarmFilter {
            app_id: Some(self.world.app.id),
            ..AlarmFilter::default()
        };
        let other = Some(PlatformId::new(Uuid::from_u128(1)));
        for filter in [
            of.clone(),
            AlarmFilter {
                platform_id: other,
                ..of.clone()
            },
            AlarmFilter {
                kind: Some("k".to_owned()),
                ..of.clone()
            },
            AlarmFilter {
                open: Some(true),
                ..of.clone()
            },
            AlarmFilter {
                open: Some(false),
                ..of
            },
        ] {
            let (what, before) = (format!("{filter:?}"), self.store().cost_of_reads());
            let answer = is_empty(self.store().alarms_of(filter, Page::default()).await);
            self.note(what, before, answer);
        }
        let of = AuditLogFilter {
            app_id: Some(self.world.app.id),
            ..AuditLogFilter::default()
        };
        for filter in [
            AuditLogFilter {
                subject: Some("s".to_owned()),
                ..of.clone()
            },
            AuditLogFilter {
                key_id: Some(KeyId::new(Uuid::from_u128(1))),
                ..of.clone()
            },
            AuditLogFilter {
                operation: Some("nothing".to_owned()),
                ..of
            },
        ] {
            let (what, before) = (format!("{filter:?}"), self.store().cost_of_reads());
            let answer = is_empty(self.store().audit_log(filter, Page::default()).await);
            self.note(what, before, answer);
        }
    }
}

impl Lists<'_> {
    /// Calls the queries that do not walk a list.
    async fn others(&mut self) {
        let (app, user) = (self.world.app.id, UserId::new(Uuid::from_u128(1)));
        let before = self.store().cost_of_reads();
        let stands = self.store().overview(Some(app)).await.map(|one| {
            let counted = [one.windows, one.held, one.waiting, one.pending, one.failed];
            counted == [0; 5] && one.next_windows.is_empty() && one.silent_stores.is_empty()
        });
        self.note("overview", before, stands);
        let before = self.store().cost_of_reads();
        let keys = is_empty(self.store().keys(Some(app), Page::default()).await);
        self.note("keys", before, keys);
        let before = self.store().cost_of_reads();
        let sign_ins = is_empty(self.store().sign_ins(Some(app), Page::default()).await);
        self.note("sign-ins", before, sign_ins);
        let before = self.store().cost_of_reads();
        let feed = is_empty(self.store().feed(app, None, Page::default()).await);
        self.note("feed", before, feed);
        let before = self.store().cost_of_reads();
        let payments = self
            .store()
            .payments(Some(app), PaymentSubject::User(user), Page::default())
            .await;
        self.note("payments", before, is_empty(payments));
        let before = self.store().cost_of_reads();
        let reviews = is_empty(self.store().reviews(app, Page::default()).await);
        self.note("reviews", before, reviews);
        let before = self.store().cost_of_reads();
        let transfers = self.store().transfers(user).await.map(|all| all.is_empty());
        self.note("transfers", before, transfers);
        let before = self.store().cost_of_reads();
        let unmapped = self
            .store()
            .unmapped(app)
            .await
            .map(|(all, _)| all.is_empty());
        self.note("unmapped", before, unmapped);
        for text in ["r", "x300", "k300"] {
            let before = self.store().cost_of_reads();
            let found = self
                .store()
                .search(text, Some(app))
                .await
                .map(|all| all.is_empty());
            self.note(format!("search {text}"), before, found);
        }
        let before = self.store().cost_of_reads();
        let (from, until) = (
            Timestamp::from_micros(0),
            Timestamp::from_micros(i64::MAX / 2),
        );
        let series = SeriesFilter {
            series: vec![Series::Accepted],
            app: Some(app),
            destinations: Vec::new(),
            from,
            until,
        };
        let minutes = self.store().minutes(series).await.map(|all| all.is_empty());
        self.note("series", before, minutes);
    }

    /// Adds two purchases of the tenant, with those of others between them, and checks revenue.
    async fn revenue(&mut self) {
        let (app, platform) = (self.world.app.id, self.world.platform.id);
        for key in [Uuid::nil(), Uuid::max()] {
            let purchase = rows::purchases(platform, app)
                .text("collapse_key", key)
                .text("receipt_id", "own");
            self.world.raw().run(&purchase);
        }
        let before = self.store().cost_of_reads();
        let filter = RevenueFilter {
            app_id: Some(app),
            month: None,
        };
        let check = self.store().check_revenue(filter, Page::default()).await;
        self.note(
            "revenue",
            before,
            check.map(|check| check.purchases == 2 && check.lines.is_empty()),
        );
    }

    /// Checks that each answer is correct and was cheap.
    async fn check(self) {
        for ((what, answer), cost) in self.answers {
            assert!(matches!(answer, Ok(true)), "{what}: {answer:?}");
            assert!(cost <= STEPS, "{what} took {cost} times ten thousand steps");
        }
        if self.world.is_postgres() {
            end_sessions(self.world).await;
            let many = self.world.raw().texts(&format!("{READ_MANY}{READ}"));
            assert!(many.is_empty(), "{many:?}");
        }
    }
}

/// Ends the store's sessions, which then report to the server what they read.
async fn end_sessions(world: &World) {
    let mut raw = world.raw();
    wait::until(SOON, "the end of the sessions", async || {
        let left = raw.number(
            "SELECT COUNT(pg_terminate_backend(pid)) AS value FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        );
        if left == 0 { Ok(()) } else { Err(left.to_string()) }
    })
    .await;
}

/// A query for tables of which at least this number of rows were read.
const READ_MANY: &str = "
    SELECT t.relname || ': ' || (t.seq_tup_read + COALESCE(i.entries, 0)) AS value
    FROM pg_stat_user_tables t
    LEFT JOIN (SELECT relid, SUM(idx_tup_read) AS entries FROM pg_stat_user_indexes GROUP BY relid) i ON i.relid = t.relid
    WHERE t.seq_tup_read + COALESCE(i.entries, 0) >= ";

/// Runs all lists, and checks that each and all together read few rows.
async fn read_few_rows(world: &World) {
    if world.is_postgres() {
        end_sessions(world).await;
        world.raw().run("SELECT pg_stat_reset()");
    }
    let mut lists = Lists {
        world,
        answers: Vec::new(),
    };
    lists.device_events().await;
    lists.deliveries().await;
    lists.notifications().await;
    lists.purchases().await;
    lists.events().await;
    lists.operators().await;
    lists.others().await;
    assert!(lists.answers.len() > 80, "{}", lists.answers.len());
    lists.check().await;
}

story! {
    async fn a_tenants_list_costs_its_own_rows_only(world: World) {
        fill(&world).await;
        read_few_rows(&world).await;
        if world.is_postgres() {
            // Now the statistics are up to date.
            world.raw().run("ANALYZE");
            read_few_rows(&world).await;
        }
        let mut lists = Lists { world: &world, answers: Vec::new() };
        lists.revenue().await;
        lists.check().await;
    }
}

story! {
    async fn a_feed_walks_a_bounded_number_of_purchases(world: World) {
        let (app, raw) = (world.app.id, &mut world.raw());
        let rare = world.store.new_platform(new_platform(&world.app, "rare")).await.unwrap().id;
        let many = rows::purchases(world.platform.id, app).text("receipt_id", "r").numbered(1, 2 * OTHERS);
        raw.run(&many.sql("collapse_key", "'00000000-0000-4000-8000-' || (i + 100000000000)"));
        let last = "ffffffff-ffff-4fff-8fff-ffffffffffff";
        raw.run(&rows::purchases(rare, app).text("collapse_key", last).text("receipt_id", "last"));
        let hook = world.destination("hook").await.id;
        raw.run(&format!("UPDATE destinations SET filter = '{{\"platforms\":[\"{rare}\"]}}' WHERE id = '{hook}'"));
        let (mut pages, mut page) = (Vec::new(), Page::default());
        loop {
            let read = world.store.feed(app, Some(hook), page).await.unwrap();
            pages.push(read.items.iter().map(|one| one.collapse_key.to_string()).collect::<Vec<_>>());
            let Some(cursor) = read.next_cursor else { break };
            page = Page { cursor: Some(cursor), ..Page::default() };
        }
        let none = Vec::<String>::new();
        assert_eq!(pages, [none.clone(), none, vec![last.to_owned()]], "20,000 purchases a page");
        let whole = world.store.feed(app, None, Page::default()).await.unwrap();
        assert_eq!(whole.items.len(), 100);
    }
}
