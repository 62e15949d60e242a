//! At most one leader at any time, whatever happens to hosts and to their ways to the store; and one again after that.

mod common;

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use common::{
    faulty::{Faulty, Way},
    newcomer,
};
use proptest::prelude::*;
use tokio::{sync::watch, task::JoinHandle};
use wardian_cluster::{Member, Standing, hosts, join};
use wardian_store::{ManualClock, MemoryStore, Options, Store};

const HOSTS: usize = 3;
/// Polls given to all tasks after each step; more than they have turns to take.
const TURNS: usize = 60;

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, in ms.
    Pass(u64),
    /// The host's way to the store becomes so.
    Way(usize, Way),
    /// The host's daemon gets no processor, or gets it again.
    Pause(usize, bool),
    /// The host's daemon is killed and started again.
    Crash(usize),
    /// The host's daemon is ended in order and started again.
    Restart(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let host = 0..HOSTS;
    let bad = prop_oneof![Just(Way::Deaf), Just(Way::Fails), Just(Way::Hears), Just(Way::Answers)];
    let pass = || (1u64..5000).prop_map(Step::Pass);
    let then = prop_oneof![Just(Way::Open), Just(Way::Deaf)];
    let bad_way = (host.clone(), bad, prop::collection::vec(pass(), 1..6), then, pass()).prop_map(
        |(host, way, passes, then, last)| {
            let until_then = std::iter::once(Step::Way(host, way)).chain(passes);
            until_then.chain([Step::Way(host, then), last, Step::Way(host, Way::Open)]).collect()
        },
    );
    let worst = prop_oneof![Just(Way::Fails), Just(Way::Answers)];
    let episode = prop_oneof![
        4 => pass().prop_map(|step| vec![step]),
        4 => bad_way,
        1 => (host.clone(), worst).prop_map(|(host, way)| vec![Step::Way(host, way)]),
        1 => host.clone().prop_map(|host| vec![Step::Way(host, Way::Open)]),
        2 => (host.clone(), any::<bool>()).prop_map(|(host, paused)| vec![Step::Pause(host, paused)]),
        1 => host.clone().prop_map(|host| vec![Step::Crash(host)]),
        1 => host.prop_map(|host| vec![Step::Restart(host)]),
    ];
    prop::collection::vec(episode, 1..24).prop_map(|episodes| episodes.concat())
}

struct Host {
    number: u8,
    way: watch::Sender<Way>,
    store: Arc<dyn Store>,
    member: Arc<Member>,
    paused: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

struct World {
    clock: ManualClock,
    store: Arc<dyn Store>,
    hosts: Vec<Host>,
    leaders: Arc<Leaders>,
}

/// Who leads, by all accounts.
#[derive(Default)]
struct Leaders {
    /// Of every run of every daemon: one that was killed may still believe that it leads.
    standings: Mutex<Vec<watch::Receiver<Standing>>>,
    /// How many ever led at once.
    most: AtomicUsize,
}

impl Leaders {
    fn count(&self) -> usize {
        let standings = self.standings.lock().unwrap();
        let count = standings.iter().filter(|standing| standing.borrow().leads()).count();
        self.most.fetch_max(count, Ordering::Relaxed);
        count
    }

    fn check(&self) {
        self.count();
        assert!(self.most.load(Ordering::Relaxed) <= 1, "{self:?} led at once");
    }
}

impl std::fmt::Debug for Leaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.most.fmt(f)
    }
}

impl World {
    async fn new() -> Self {
        let clock = ManualClock::new();
        let options = Options { clock: Arc::new(clock.clone()), ..Options::default() };
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with(options));
        let mut world = Self { clock, store, hosts: Vec::new(), leaders: Arc::default() };
        for number in 1..=u8::try_from(HOSTS).unwrap() {
            let (store, way) = Faulty::between(Arc::clone(&world.store));
            let (member, paused, task) = world.start(number, Arc::clone(&store), &way).await;
            world.hosts.push(Host { number, way, store, member, paused, task });
        }
        world
    }

    /// A daemon, whose task is polled only while it is not paused.
    async fn start(
        &mut self,
        number: u8,
        store: Arc<dyn Store>,
        way: &watch::Sender<Way>,
    ) -> (Arc<Member>, Arc<AtomicBool>, JoinHandle<()>) {
        // To come in, it has a way. Nobody else uses it meanwhile: the last daemon on it has ended.
        let before = way.send_replace(Way::Open);
        let member = join(store, &newcomer(number)).await.unwrap();
        way.send_replace(before);
        let member = Arc::new(member.with_clock(Arc::new(self.clock.clone())));
        let (sender, standing) = watch::channel(Standing::new());
        self.leaders.standings.lock().unwrap().push(standing);
        let paused = Arc::new(AtomicBool::new(false));
        let (kept, asleep, leaders) = (Arc::clone(&member), Arc::clone(&paused), Arc::clone(&self.leaders));
        let task = tokio::spawn(async move {
            let mut keeping = pin!(kept.keep(&sender));
            std::future::poll_fn(|context| {
                if asleep.load(Ordering::Relaxed) {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let polled = keeping.as_mut().poll(context);
                leaders.count();
                polled
            })
            .await;
        });
        (member, paused, task)
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Pass(ms) => {
                self.clock.advance(Duration::from_millis(ms));
                self.leaders.check();
            }
            Step::Way(host, way) => {
                self.hosts[host].way.send_replace(way);
            }
            Step::Pause(host, paused) => self.hosts[host].paused.store(paused, Ordering::Relaxed),
            Step::Crash(host) => self.restart(host, false).await,
            Step::Restart(host) => self.restart(host, true).await,
        }
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
            self.leaders.check();
        }
    }

    async fn restart(&mut self, host: usize, in_order: bool) {
        let one = &mut self.hosts[host];
        one.task.abort();
        let _ = (&mut one.task).await;
        // Whether the store hears of it or not.
        if in_order && matches!(*one.way.borrow(), Way::Open | Way::Fails) {
            let _ = one.member.leave().await;
        }
        let (number, store, way) = (one.number, Arc::clone(&one.store), one.way.clone());
        let (member, paused, task) = self.start(number, store, &way).await;
        let one = &mut self.hosts[host];
        (one.member, one.paused, one.task) = (member, paused, task);
    }
}

async fn run(steps: Vec<Step>) {
    let mut world = World::new().await;
    for step in steps {
        world.step(step).await;
    }
    // All is well again: everybody is there, and one leads.
    for host in 0..HOSTS {
        world.step(Step::Pause(host, false)).await;
        world.step(Step::Way(host, Way::Open)).await;
    }
    for _ in 0..40 {
        world.step(Step::Pass(1000)).await;
    }
    assert_eq!(world.leaders.count(), 1);
    let all = hosts(&*world.store).await.unwrap();
    assert!(all.iter().all(|host| host.presence.is_some()), "{all:?}");
    assert_eq!(all.iter().filter(|host| host.leads).count(), 1);
    assert!(world.hosts.iter().all(|host| !host.task.is_finished()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn there_are_never_two_leaders(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps));
    }
}
