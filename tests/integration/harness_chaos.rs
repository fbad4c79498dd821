//! The plans of `settle-chaos`: a seed gives the same plan each time, with every fault that its database allows.

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
        assert_eq!(plan.to_string(), Plan::new(plan.seed, TIME, GAP).to_string());
        let armed = |plan: &Plan| (0..40).map(|start| plan.armed(0, start, None)).collect::<Vec<_>>();
        assert_eq!(armed(plan), armed(&Plan::new(plan.seed, TIME, GAP)));
        let settings: BTreeSet<String> = armed(plan).into_iter().flatten().map(|armed| armed.setting()).collect();
        assert!(settings.len() > 10, "the fail points of a process differ: {settings:?}");
        assert!(plan.faults.iter().map(|fault| fault.seed).collect::<BTreeSet<_>>().len() > 40);
        assert!(plan.faults.iter().all(|fault| fault.process < plan.database.processes().len()));
    }
    assert_ne!(plans[0].faults, plans[1].faults);
}

#[test]
fn a_plan_has_every_fault_that_its_database_allows() {
    for (seed, database, without) in
        [(8, Database::Postgres, Kind::FullDisk), (7, Database::Sqlite, Kind::DatabaseKilled)]
    {
        let plan = Plan::new(seed, TIME, GAP);
        assert_eq!(plan.database, database);
        let kinds: BTreeSet<Kind> = plan.faults.iter().map(|fault| fault.kind).collect();
        // A kill at a fail point comes with the start of a process, a restored backup at the end.
        let wanted: BTreeSet<Kind> =
            Kind::ALL.into_iter().filter(|kind| ![without, Kind::Point, Kind::Restored].contains(kind)).collect();
        assert_eq!(kinds, wanted);
        // I7 excepts a process suspended for longer than a lease, and a step of the clock of that length.
        let steps = plan.faults.iter().filter(|fault| [Kind::Clock, Kind::Suspended].contains(&fault.kind));
        steps.for_each(|fault| assert!(fault.time < Duration::from_secs(10), "{fault:?}"));
    }
}
