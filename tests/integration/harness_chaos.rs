//! The plans of `settle-chaos`: a seed always gives the same plan, with every fault that its database allows.

#[path = "../chaos/plan.rs"]
mod plan;

use plan::{Database, Kind, Plan};
use std::collections::BTreeSet;
use std::time::Duration;

const TIME: Duration = Duration::from_secs(120);
const GAP: Duration = Duration::from_secs(2);

#[test]
fn a_seed_gives_the_same_plan_each_time() {
    let plans = [7, 8].map(|seed| Plan::new(seed, TIME, GAP));
    for plan in &plans {
        assert_eq!(*plan, Plan::new(plan.seed, TIME, GAP));
        assert_eq!(
            plan.to_string(),
            Plan::new(plan.seed, TIME, GAP).to_string()
        );
        let armed = |plan: &Plan| {
            (0..40)
                .map(|start| plan.armed(0, start, None))
                .collect::<Vec<_>>()
        };
        assert_eq!(armed(plan), armed(&Plan::new(plan.seed, TIME, GAP)));
        let settings: BTreeSet<String> = armed(plan)
            .into_iter()
            .flatten()
            .map(|armed| armed.setting())
            .collect();
        assert!(
            settings.len() > 10,
            "the fail points of a process differ: {settings:?}"
        );
        assert!(
            plan.faults
                .iter()
                .map(|fault| fault.seed)
                .collect::<BTreeSet<_>>()
                .len()
                > 40
        );
        assert!(
            plan.faults
                .iter()
                .all(|fault| fault.process < plan.database.processes().len())
        );
    }
    assert_ne!(plans[0].faults, plans[1].faults);
}

#[test]
fn a_plan_has_every_fault_that_its_database_allows() {
    let of_postgres = [Kind::DatabaseKilled, Kind::FailedOver, Kind::Snapshot];
    for (seed, database, without) in [
        (8, Database::Postgres, &[Kind::FullDisk][..]),
        (7, Database::Sqlite, &of_postgres),
    ] {
        let plan = Plan::new(seed, TIME, GAP);
        assert_eq!(plan.database, database);
        let kinds: BTreeSet<Kind> = plan
            .faults
            .iter()
            .map(|fault| fault.kind)
            .filter(|kind| *kind != Kind::Down)
            .collect();
        // A kill at a fail point belongs to the start of a process, and a restored backup comes at the end; the seed
        // determines the outage.
        let beside = [Kind::Point, Kind::Down, Kind::Restored];
        let wanted: BTreeSet<Kind> = Kind::ALL
            .into_iter()
            .filter(|kind| !beside.contains(kind) && !without.contains(kind))
            .collect();
        assert_eq!(kinds, wanted);
        // I7 allows an exception when a process is suspended, or the clock is changed, for longer than a lease.
        let of_leases = [Kind::Clock, Kind::ClockBack, Kind::Suspended];
        let steps = plan
            .faults
            .iter()
            .filter(|fault| of_leases.contains(&fault.kind));
        steps.for_each(|fault| assert!(fault.time < Duration::from_secs(10), "{fault:?}"));
    }
}
