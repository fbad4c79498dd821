//! The table of connections, with times as arguments. Tests of running listeners are in `tests/hostile`.

use super::limits::{ANSWER_TIME, BODY_TIME, HEAD_TIME, IDLE_TIME, Limits};
use super::table::{Admitted, Crowded, Phase, Refused, Table};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// A table for four connections: two per address and three per site, with 100 bytes for bodies.
fn table() -> Table {
    let limits = Limits {
        connections: 4,
        for_health: 0,
        per_address: 2,
        per_site: 3,
        body_bytes: 100,
        proxies: Vec::new(),
    };
    Table::new(limits)
}

fn address(number: u32) -> Option<IpAddr> {
    Some(IpAddr::from(number.to_be_bytes()))
}

fn is_open(connection: &mut Admitted) -> bool {
    connection.closed.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty)
}

/// Opens connections from different addresses, a second apart.
fn open(table: &mut Table, count: u32, began: Instant) -> Vec<Admitted> {
    (0..count)
        .map(|number| {
            table
                .admit(address(100 + number), began + SECOND * number)
                .expect("a place")
        })
        .collect()
}

#[test]
fn the_oldest_connection_without_a_request_gives_way() {
    let (mut table, began) = (table(), Instant::now());
    let mut all = open(&mut table, 4, began);
    table.enter(all[0].id, Phase::Answer, began);
    table.enter(all[1].id, Phase::Idle, began + 10 * SECOND);
    let next = table
        .admit(address(1), began + 11 * SECOND)
        .expect("a place");
    assert_eq!(next.replaced, Some(Phase::Head));
    let open: Vec<bool> = all.iter_mut().map(is_open).collect();
    assert_eq!(open, [true, true, false, true], "the oldest head");
    assert_eq!(table.len(), 4);
}

#[test]
fn a_body_gives_way_after_heads_and_an_answer_never() {
    let (mut table, began) = (table(), Instant::now());
    let mut all = open(&mut table, 4, began);
    for (connection, phase) in
        all.iter()
            .zip([Phase::Answer, Phase::Body, Phase::Body, Phase::Idle])
    {
        table.enter(connection.id, phase, began);
    }
    let mut replaced = Vec::new();
    for number in 0..3 {
        let next = table
            .admit(address(number), began + SECOND)
            .expect("a place");
        replaced.push(next.replaced);
        table.enter(next.id, Phase::Answer, began + SECOND);
    }
    assert_eq!(
        replaced,
        [Some(Phase::Idle), Some(Phase::Body), Some(Phase::Body)]
    );
    assert!(is_open(&mut all[0]));
    assert_eq!(
        table.admit(address(9), began + SECOND).map(|one| one.id),
        Err(Refused::Full)
    );
    table.close(all[0].id);
    assert!(table.admit(address(9), began + SECOND).is_ok());
}

#[test]
fn a_stream_gives_way_after_bodies() {
    let (mut table, began) = (table(), Instant::now());
    let all = open(&mut table, 4, began);
    for (connection, phase) in
        all.iter()
            .zip([Phase::Stream, Phase::Answer, Phase::Body, Phase::Answer])
    {
        table.enter(connection.id, phase, began);
    }
    let mut replaced = |number| {
        let next = table
            .admit(address(number), began + SECOND)
            .expect("a place");
        table.enter(next.id, Phase::Answer, began + SECOND);
        next.replaced
    };
    assert_eq!(
        [1, 2].map(&mut replaced),
        [Some(Phase::Body), Some(Phase::Stream)]
    );
}

#[test]
fn health_checks_have_places_of_their_own() {
    let limits = Limits {
        connections: 4,
        for_health: 1,
        per_address: 4,
        per_site: 4,
        body_bytes: 100,
        proxies: Vec::new(),
    };
    let (mut table, began) = (Table::new(limits), Instant::now());
    let all = open(&mut table, 3, began);
    for connection in &all {
        assert!(!connection.is_for_health);
        table.enter(connection.id, Phase::Answer, began);
    }
    let check = table.admit(address(1), began + SECOND).expect("a place");
    assert!(check.is_for_health && check.replaced.is_none());
    let next = table
        .admit(address(2), began + SECOND * 2)
        .expect("a place");
    assert!(
        next.is_for_health && next.replaced == Some(Phase::Head),
        "one that sends no head gives way"
    );
    table.enter(next.id, Phase::Answer, began + SECOND * 2);
    assert_eq!(
        table
            .admit(address(3), began + SECOND * 3)
            .map(|one| one.id),
        Err(Refused::Full)
    );
    table.enter(all[0].id, Phase::Idle, began + SECOND * 3);
    let common = table
        .admit(address(3), began + SECOND * 3)
        .expect("a place");
    assert!(!common.is_for_health && common.replaced == Some(Phase::Idle));
    table.close(next.id);
    table.enter(common.id, Phase::Answer, began);
    assert!(
        table
            .admit(address(4), began)
            .expect("a place")
            .is_for_health,
        "it is free again"
    );
}

#[test]
fn the_address_with_the_most_connections_gives_way() {
    let (mut table, began) = (table(), Instant::now());
    let mut of_few = table.admit(address(1), began).expect("a place");
    table.enter(of_few.id, Phase::Idle, began);
    let mut proxied = table.admit(None, began).expect("a place");
    let mut of_many: Vec<Admitted> = (1..=2)
        .map(|at| table.admit(address(2), began + SECOND * at).unwrap())
        .collect();
    for (connection, at) in of_many.iter().zip(1..) {
        table.enter(connection.id, Phase::Body, began + SECOND * at);
    }
    let next = table
        .admit(address(3), began + 3 * SECOND)
        .expect("a place");
    assert_eq!(next.replaced, Some(Phase::Body));
    assert!(is_open(&mut of_few) && is_open(&mut proxied));
    let open: Vec<bool> = of_many.iter_mut().map(is_open).collect();
    assert_eq!(open, [false, true], "the oldest of its two");
}

/// An IPv6 address in a network of a site.
fn six(site: u16, network: u16, host: u16) -> Option<IpAddr> {
    Some(IpAddr::from([0x2001, 0xdb8, site, network, 0, 0, 0, host]))
}

#[test]
fn a_site_takes_places_from_itself_alone() {
    let (mut table, began) = (table(), Instant::now());
    let mut honest = table.admit(six(2, 1, 1), began).expect("a place");
    let of_network = (0..2).map(|host| {
        table
            .admit(six(1, 1, host), began + SECOND)
            .expect("a place")
    });
    let mut of_network: Vec<Admitted> = of_network.collect();
    let same = table
        .admit(six(1, 1, 9), began + 2 * SECOND)
        .expect("a place");
    assert_eq!(same.replaced, Some(Phase::Head));
    assert!(!is_open(&mut of_network[0]), "the oldest of its /64");
    let other = table
        .admit(six(1, 2, 1), began + 3 * SECOND)
        .expect("a place");
    assert_eq!((other.replaced, table.len()), (None, 4));
    let third = table
        .admit(six(1, 3, 1), began + 4 * SECOND)
        .expect("a place");
    assert_eq!((third.replaced, table.len()), (Some(Phase::Head), 4));
    assert!(!is_open(&mut of_network[1]), "the oldest of its /48");
    assert!(is_open(&mut honest));
    for connection in [honest.id, same.id, other.id, third.id] {
        table.close(connection);
    }
    assert_eq!(table.len(), 0);
    assert!((0..4).all(|site| {
        table
            .admit(six(site, 1, 1), began)
            .is_ok_and(|one| one.replaced.is_none())
    }));
}

#[test]
fn the_site_with_the_most_connections_gives_way() {
    let (mut table, began) = (table(), Instant::now());
    let mut honest = table.admit(address(1), began).expect("a place");
    let of_site = (1..4).map(|network| {
        table
            .admit(six(1, network, 1), began + SECOND)
            .expect("a place")
    });
    let mut of_site: Vec<Admitted> = of_site.collect();
    assert_eq!(
        table
            .admit(address(2), began + 2 * SECOND)
            .expect("a place")
            .replaced,
        Some(Phase::Head)
    );
    assert!(
        is_open(&mut honest),
        "each network has one, and the site three"
    );
    assert_eq!(
        of_site
            .iter_mut()
            .map(is_open)
            .filter(|is_open| !is_open)
            .count(),
        1
    );
}

#[test]
fn an_address_takes_places_from_itself_alone() {
    let (mut table, began) = (table(), Instant::now());
    let mut of_other = table.admit(address(2), began).expect("a place");
    let mut of_one: Vec<Admitted> = (1..=2)
        .map(|at| table.admit(address(1), began + SECOND * at).unwrap())
        .collect();
    let third = table
        .admit(address(1), began + 3 * SECOND)
        .expect("a place");
    assert_eq!(third.replaced, Some(Phase::Head));
    assert!(is_open(&mut of_other) && !is_open(&mut of_one[0]) && is_open(&mut of_one[1]));
    for id in [of_one[1].id, third.id] {
        table.enter(id, Phase::Answer, began);
    }
    assert_eq!(
        table.admit(address(1), began).map(|one| one.id),
        Err(Refused::Address)
    );
    let proxied = table.admit(None, began).expect("a proxy has no limit");
    assert_eq!(proxied.replaced, None);
}

#[test]
fn each_phase_has_its_time() {
    let phases = [
        (Phase::Head, HEAD_TIME),
        (Phase::Idle, IDLE_TIME),
        (Phase::Body, BODY_TIME),
        (Phase::Answer, ANSWER_TIME),
        (Phase::Stream, ANSWER_TIME),
    ];
    for (phase, time) in phases {
        let (mut table, began) = (table(), Instant::now());
        let mut connection = table.admit(address(1), began).expect("a place");
        table.enter(connection.id, phase, began + SECOND);
        assert_eq!(table.close_late(began + SECOND + time), [], "{phase:?}");
        assert!(is_open(&mut connection));
        assert_eq!(table.close_late(began + SECOND * 2 + time), [phase]);
        assert!(!is_open(&mut connection));
        assert_eq!((table.len(), table.close(connection.id)), (0, None));
    }
}

#[test]
fn bodies_have_a_memory_and_the_oldest_gives_way() {
    let (mut table, began) = (table(), Instant::now());
    let mut all = open(&mut table, 3, began);
    for (number, connection) in (0..).zip(&all) {
        table.enter(connection.id, Phase::Body, began + SECOND * number);
        assert_eq!(table.receive(connection.id, 30), Ok(0));
    }
    assert_eq!((table.receive(all[2].id, 20), table.bytes()), (Ok(1), 80));
    assert!(!is_open(&mut all[0]) && is_open(&mut all[1]));
    assert_eq!(table.receive(all[0].id, 1), Err(Crowded), "it is closed");
    table.enter(all[1].id, Phase::Answer, began);
    assert_eq!(
        table.receive(all[2].id, 21),
        Err(Crowded),
        "a request that is carried out goes on"
    );
    table.enter(all[1].id, Phase::Idle, began);
    table.close(all[2].id);
    assert_eq!(table.bytes(), 0);
}
