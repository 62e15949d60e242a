//! Being there: seen by others, ended by leaving, and one daemon's at a time.

mod common;

use std::{sync::Arc, time::Duration};

use common::{
    Running,
    faulty::{Faulty, Way},
    newcomer,
};
use wardian_cluster::{
    hosts, join,
    tenure::{EVERY, MARGIN, TTL},
};
use wardian_model::cluster::{HostRecord, LeaderRecord};
use wardian_store::{ManualClock, MemoryStore, Options, Outcome, Store, Transaction};

fn memory() -> (Arc<dyn Store>, ManualClock) {
    let clock = ManualClock::new();
    let options = Options { clock: Arc::new(clock.clone()), ..Options::default() };
    (Arc::new(MemoryStore::with(options)), clock)
}

async fn start(store: &Arc<dyn Store>, clock: &ManualClock, number: u8) -> Running {
    let member = join(Arc::clone(store), &newcomer(number)).await.unwrap();
    Running::start(member.with_clock(Arc::new(clock.clone())))
}

/// Who is there, by the words of their daemons, and who leads.
async fn seen(store: &Arc<dyn Store>) -> Vec<(String, Option<String>, bool)> {
    let all = hosts(&**store).await.unwrap().into_iter();
    all.map(|one| (one.host.name.to_string(), one.presence.map(|there| there.daemon), one.leads)).collect()
}

/// Lets time pass for who keeps leases alive, too.
async fn pass(clock: &ManualClock, time: Duration) {
    let end = wardian_store::Clock::now(clock) + time;
    while wardian_store::Clock::now(clock) < end {
        clock.advance(Duration::from_millis(500));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn who_is_there_is_seen_and_who_leaves_is_gone_at_once() {
    let (store, clock) = memory();
    let mut first = start(&store, &clock, 1).await;
    first.until("leading", |standing| standing.in_touch && standing.leads()).await;
    let mut second = start(&store, &clock, 2).await;
    second.until("in touch", |standing| standing.in_touch).await;
    pass(&clock, 5 * TTL).await;
    let daemons = [first.member.daemon().to_owned(), second.member.daemon().to_owned()];
    let expected = |leader: usize| {
        let told = |place: usize| (format!("h-{}", place + 1), Some(daemons[place].clone()), place == leader);
        vec![told(0), told(1)]
    };
    assert_eq!(seen(&store).await, expected(0));
    let standing = first.standing.clone();
    let member = first.crash().await;
    member.leave().await.unwrap();
    assert!(!standing.borrow().leads());
    // No time passes.
    second.until("leading", |standing| standing.leads()).await;
    assert_eq!(seen(&store).await, [("h-1".to_owned(), None, false), expected(1)[1].clone()]);
}

#[tokio::test]
async fn who_crashes_is_gone_after_a_while_and_its_lead_with_it() {
    let (store, clock) = memory();
    let mut first = start(&store, &clock, 1).await;
    first.until("leading", |standing| standing.leads()).await;
    let mut second = start(&store, &clock, 2).await;
    second.until("in touch", |standing| standing.in_touch).await;
    let standing = first.standing.clone();
    first.crash().await;
    pass(&clock, TTL - MARGIN).await;
    // It does not know that it has crashed, and knows that it does not lead.
    assert!(!standing.borrow().leads() && !second.leads());
    pass(&clock, 2 * MARGIN).await;
    second.until("leading", |standing| standing.leads()).await;
    assert!(seen(&store).await[0].1.is_none());
}

#[tokio::test]
async fn a_restarted_daemon_takes_over_from_the_one_that_crashed() {
    let (store, clock) = memory();
    let mut first = start(&store, &clock, 1).await;
    first.until("leading", |standing| standing.leads()).await;
    first.crash().await;
    let mut again = start(&store, &clock, 1).await;
    again.until("in touch", |standing| standing.in_touch).await;
    assert_eq!(seen(&store).await[0].1.as_deref(), Some(again.member.daemon()));
    assert!(!again.leads(), "the lead is on the lease of the one that crashed");
    pass(&clock, TTL).await;
    again.until("leading", |standing| standing.leads()).await;
    assert_eq!(seen(&store).await, [("h-1".to_owned(), Some(again.member.daemon().to_owned()), true)]);
}

#[tokio::test]
async fn a_daemon_that_was_replaced_does_not_fight_for_its_place() {
    let (store, clock) = memory();
    let mut first = start(&store, &clock, 1).await;
    first.until("leading", |standing| standing.leads()).await;
    let mut second = start(&store, &clock, 1).await;
    first.until("replaced", |standing| !standing.in_touch && standing.problem.is_some()).await;
    let problem = first.standing.borrow().problem.clone().unwrap();
    assert_eq!(problem.message, "another daemon of this host has taken its place in the cluster");
    second.until("leading", |standing| standing.leads()).await;
    pass(&clock, 3 * TTL).await;
    assert!(!first.leads() && second.leads());
    assert_eq!(seen(&store).await[0].1.as_deref(), Some(second.member.daemon()));
}

#[tokio::test]
async fn without_the_store_a_host_says_so_and_stops_to_lead_in_time() {
    for way in [Way::Fails, Way::Hears, Way::Answers] {
        let (store, clock) = memory();
        let (own, door) = Faulty::between(Arc::clone(&store));
        let mut first = start(&own, &clock, 1).await;
        first.until("leading", |standing| standing.leads()).await;
        assert!(first.standing.borrow().problem.is_none());
        door.send_replace(way);
        pass(&clock, TTL - MARGIN).await;
        // The way on which requests still arrive keeps the lease, and nobody knows.
        first.until("out of touch", |standing| !standing.in_touch && !standing.leads()).await;
        assert!(first.standing.borrow().problem.is_some(), "{way:?}");
        let mut second = start(&store, &clock, 2).await;
        pass(&clock, TTL).await;
        second.until("leading", |standing| standing.leads()).await;
        door.send_replace(Way::Open);
        pass(&clock, TTL).await;
        first.until("in touch", |standing| standing.in_touch && standing.problem.is_none()).await;
        assert!(!first.leads() && second.leads());
    }
}

#[tokio::test]
async fn a_lead_goes_on_when_nobody_has_led_in_between() {
    let (store, clock) = memory();
    let (own, door) = Faulty::between(Arc::clone(&store));
    let mut first = start(&own, &clock, 1).await;
    first.until("leading", |standing| standing.leads()).await;
    let lead = first.standing.borrow().lead().cloned().unwrap();
    door.send_replace(Way::Hears);
    pass(&clock, TTL - MARGIN).await;
    assert!(!lead.holds());
    door.send_replace(Way::Open);
    first.until("leading", |standing| standing.leads()).await;
    assert_eq!(first.standing.borrow().lead().unwrap().term(), lead.term());
    assert!(lead.holds());
}

#[tokio::test]
async fn a_late_answer_prolongs_no_lead() {
    let (store, clock) = memory();
    let (own, door) = Faulty::between(Arc::clone(&store));
    let mut first = start(&own, &clock, 1).await;
    first.until("leading", |standing| standing.leads()).await;
    let mut second = start(&store, &clock, 2).await;
    second.until("in touch", |standing| standing.in_touch).await;
    // The store hears of it after 3 s, and says so just before the lease that has been kept alive by that may be over.
    door.send_replace(Way::Answers);
    pass(&clock, EVERY + TTL - MARGIN - Duration::from_millis(500)).await;
    assert!(!first.leads());
    door.send_replace(Way::Deaf);
    first.until("leading", |standing| standing.leads()).await;
    pass(&clock, MARGIN + Duration::from_millis(500)).await;
    second.until("leading", |standing| standing.leads()).await;
    assert!(!first.leads());
}

#[tokio::test]
async fn what_a_former_leader_writes_is_a_conflict() {
    let (store, clock) = memory();
    let mut first = start(&store, &clock, 1).await;
    first.until("leading", |standing| standing.leads()).await;
    let lead = first.standing.borrow().lead().cloned().unwrap();
    let write = || lead.guard(Transaction::new().put("events/1", "x"));
    assert!(matches!(store.commit(write()).await.unwrap(), Outcome::Committed(_)));
    // Somebody takes the lead away by hand: the host hears of it and leads anew.
    store.commit(Transaction::new().delete(LeaderRecord::KEY)).await.unwrap().committed().unwrap();
    assert!(matches!(store.commit(write()).await.unwrap(), Outcome::Conflict { .. }));
    first.until("leading anew", |standing| standing.lead().is_some_and(|now| now.term() > lead.term())).await;
    assert!(matches!(store.commit(write()).await.unwrap(), Outcome::Conflict { .. }));
    // Or gives it to somebody else.
    store.commit(Transaction::new().put(LeaderRecord::KEY, "{}")).await.unwrap().committed().unwrap();
    first.until("following", |standing| !standing.leads() && standing.in_touch).await;
}

#[tokio::test]
async fn a_host_that_was_removed_is_told_when_it_comes_back() {
    let (store, clock) = memory();
    let (own, door) = Faulty::between(Arc::clone(&store));
    let mut first = start(&own, &clock, 1).await;
    first.until("leading", |standing| standing.leads()).await;
    door.send_replace(Way::Fails);
    pass(&clock, 2 * TTL).await;
    let key = HostRecord::key_of(&newcomer(1).name);
    store.commit(Transaction::new().delete(key)).await.unwrap().committed().unwrap();
    door.send_replace(Way::Open);
    pass(&clock, 2 * TTL).await;
    let problem = first.standing.borrow_and_update().problem.clone().unwrap();
    assert_eq!(problem.message, "the host h-1 does not belong to the cluster any more");
    assert!(seen(&store).await.is_empty());
}
