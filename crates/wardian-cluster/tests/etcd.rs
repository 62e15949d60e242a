//! Presence and lead on a real etcd, by the real clock.

mod common;

use common::{Running, newcomer, open};
use wardian_cluster::{hosts, join};
use wardian_testkit::etcd::Etcd;

async fn start(server: &Etcd, number: u8) -> Running {
    Running::start(join(open(server).await, &newcomer(number)).await.unwrap())
}

/// Waits until exactly one of them leads, and takes it out.
async fn leader(running: &mut Vec<Running>) -> Running {
    loop {
        let leading: Vec<_> =
            running.iter().enumerate().filter(|(_, one)| one.leads()).map(|(place, _)| place).collect();
        match leading[..] {
            [] => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            [one] => return running.swap_remove(one),
            _ => panic!("{} lead", leading.len()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lead_passes_on_when_its_host_leaves_or_crashes() {
    let server = Etcd::start();
    let store = open(&server).await;
    let mut running = vec![start(&server, 1).await, start(&server, 2).await, start(&server, 3).await];
    for one in &mut running {
        one.until("in touch", |standing| standing.in_touch).await;
    }
    assert!(hosts(&*store).await.unwrap().iter().all(|one| one.presence.is_some()));

    let first = leader(&mut running).await;
    let member = first.crash().await;
    member.leave().await.unwrap();
    let second = leader(&mut running).await;
    let away: Vec<_> = hosts(&*store).await.unwrap().into_iter().filter(|one| one.presence.is_none()).collect();
    assert_eq!(away.iter().map(|one| &one.host.name).collect::<Vec<_>>(), [&member.host().name]);

    // Without a word this time.
    let standing = second.standing.clone();
    let member = second.crash().await;
    let third = leader(&mut running).await;
    assert!(!standing.borrow().leads());
    let all = hosts(&*store).await.unwrap();
    let leads: Vec<_> = all.iter().filter(|one| one.leads).map(|one| &one.host.name).collect();
    assert_eq!(leads, [&third.member.host().name]);
    assert!(all.iter().any(|one| one.host.name == member.host().name && one.presence.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_etcd_is_away_nobody_leads_for_long_and_one_does_when_it_is_back() {
    let mut server = Etcd::start();
    let mut running = vec![start(&server, 1).await, start(&server, 2).await];
    for one in &mut running {
        one.until("in touch", |standing| standing.in_touch).await;
    }
    let first = leader(&mut running).await;
    running.push(first);
    server.kill();
    for one in &mut running {
        one.until("out of touch", |standing| !standing.in_touch && !standing.leads()).await;
        assert!(one.standing.borrow().problem.is_some());
    }
    server.start_again();
    for one in &mut running {
        one.until("in touch", |standing| standing.in_touch).await;
    }
    leader(&mut running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_daemon_takes_over_the_presence_it_left() {
    let server = Etcd::start();
    let store = open(&server).await;
    let mut before = start(&server, 1).await;
    before.until("leading", |standing| standing.leads()).await;
    before.crash().await;
    let mut after = start(&server, 1).await;
    after.until("in touch", |standing| standing.in_touch).await;
    let there = hosts(&*store).await.unwrap().remove(0).presence.unwrap();
    assert_eq!(there.daemon, after.member.daemon());
    after.until("leading", |standing| standing.leads()).await;
    // A second one beside it: the first gives way, for good, and the lead is free at once.
    let mut second = start(&server, 1).await;
    after.until("replaced", |standing| !standing.in_touch && standing.problem.is_some()).await;
    second.until("leading", |standing| standing.in_touch && standing.leads()).await;
    assert!(!after.leads());
}
