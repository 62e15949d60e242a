//! What holds for any hosts and environments, and how often a refusal is wrong: compared with trying everything.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use wardian_model::{name::MachineName, size::ByteSize};

use super::{world::*, *};

/// A host, and what others have on it.
fn any_host() -> impl Strategy<Value = Host> {
    let busy = prop::collection::vec(1u64..4, 0..3);
    (1u64..12, 1u32..4, prop::bool::weighted(0.85), prop::bool::weighted(0.15), busy).prop_map(
        |(memory, cores, up, paused, busy)| {
            let empty = Host { up, paused, ..host(memory, cores) };
            busy.into_iter().enumerate().fold(empty, |host, (at, memory)| host.with(&format!("old/m{at}"), memory))
        },
    )
}

fn any_policy() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(Policy::Together), Just(Policy::Spread), Just(Policy::Pack)]
}

/// Up to five machines, with groups that fit together.
fn any_environment(name: &'static str) -> impl Strategy<Value = Wanted> {
    let machines = prop::collection::vec((1u64..6, 1u32..4), 1..=5);
    let group = || prop::collection::vec(prop::collection::btree_set(0usize..5, 2..4), 0..3);
    (machines, any_policy(), group(), group()).prop_map(move |(sizes, policy, same_host, apart)| {
        let name_of = |at: usize| -> MachineName { format!("m{at}").parse().unwrap() };
        let machines: IndexMap<_, _> =
            sizes.iter().enumerate().map(|(at, (memory, cpus))| (name_of(at), size(*memory, *cpus))).collect();
        let named = |groups: &[BTreeSet<usize>]| -> Vec<Vec<MachineName>> {
            groups.iter().map(|group| group.iter().map(|at| name_of(*at)).collect()).collect()
        };
        let valid = |same_host: &[_], apart: &[_]| Rules::new(policy, named(same_host), named(apart), machines.keys());
        let rules = valid(&same_host, &apart).or_else(|_| valid(&[], &apart)).or_else(|_| valid(&same_host, &[]));
        let rules = rules.unwrap_or_else(|_| Rules::default().with_policy(policy));
        Wanted { environment: name.parse().unwrap(), rules, machines }
    })
}

/// Up to four hosts and an environment, of which some machines have their hosts, come what may.
fn any_world() -> impl Strategy<Value = (Hosts, Wanted)> {
    let there = prop::collection::vec(prop::option::weighted(0.25, any::<prop::sample::Index>()), 5);
    (prop::collection::vec(any_host(), 1..=4), any_environment("lab"), there).prop_map(|(mut all, wanted, there)| {
        for ((name, size), on) in wanted.machines.iter().zip(there) {
            if let Some(on) = on {
                let (environment, machine) = (wanted.environment.clone(), name.clone());
                let on = on.index(all.len());
                all[on].machines.push(Placed { environment, machine, size: *size });
            }
        }
        (hosts(all), wanted)
    })
}

/// Where the machines of an environment are already.
fn residents(hosts: &Hosts, wanted: &Wanted) -> BTreeMap<MachineName, HostName> {
    let placed = hosts.iter().flat_map(|(host, is)| is.machines.iter().map(move |placed| (host, placed)));
    let own = placed.filter(|(_, placed)| placed.environment == wanted.environment);
    own.map(|(host, placed)| (placed.machine.clone(), host.clone())).collect()
}

type Places = BTreeMap<MachineName, HostName>;

/// Whether places are as the hosts and the groups allow. What is there already may break the rules among itself.
fn is_allowed(hosts: &Hosts, wanted: &Wanted, places: &Places) -> bool {
    let there = residents(hosts, wanted);
    let new = |machine: &MachineName| !there.contains_key(machine);
    let room = hosts.iter().all(|(name, host)| {
        let come: Vec<Size> =
            wanted.machines.iter().filter(|(m, _)| new(m) && places[*m] == *name).map(|(_, size)| *size).collect();
        let all = || host.machines.iter().map(|placed| placed.size).chain(come.iter().copied());
        let memory: u64 = all().map(|size| size.memory.as_bytes()).sum();
        let cpus: u32 = all().map(|size| size.cpus).sum();
        come.is_empty() || host.up && !host.paused && memory <= host.memory.as_bytes() && cpus <= host.cores * 4
    });
    let pairs = |groups: &[Vec<MachineName>], good: fn(&HostName, &HostName) -> bool| {
        groups.iter().all(|group| {
            let pairs = group.iter().flat_map(|one| group.iter().map(move |other| (one, other)));
            let mut counted = pairs.filter(|(one, other)| one != other && (new(one) || new(other)));
            counted.all(|(one, other)| good(&places[one], &places[other]))
        })
    };
    let stay = there.iter().all(|(machine, host)| places[machine] == *host);
    room && stay
        && pairs(wanted.rules.same_host(), |one, other| one == other)
        && pairs(wanted.rules.apart(), |one, other| one != other)
}

/// Every way to place what is not there yet.
fn all_ways(hosts: &Hosts, wanted: &Wanted) -> Vec<Places> {
    let mut ways = vec![residents(hosts, wanted)];
    for machine in wanted.machines.keys() {
        if !ways[0].contains_key(machine) {
            let each = |way: &Places| {
                let way = way.clone();
                hosts
                    .keys()
                    .map(move |host| {
                        let mut way = way.clone();
                        way.insert(machine.clone(), host.clone());
                        way
                    })
                    .collect::<Vec<_>>()
            };
            ways = ways.iter().flat_map(each).collect();
        }
    }
    ways.retain(|way| is_allowed(hosts, wanted, way));
    ways
}

/// Whether the new ones are together: where the environment is already, or on one host.
fn is_together(hosts: &Hosts, wanted: &Wanted, places: &Places) -> bool {
    let there = residents(hosts, wanted);
    let mut new = places.iter().filter(|(machine, _)| !there.contains_key(*machine)).map(|(_, host)| host);
    let homes: Vec<&HostName> = there.values().collect();
    if homes.is_empty() {
        let first = new.next();
        return new.all(|host| Some(host) == first);
    }
    new.all(|host| homes.contains(&host))
}

/// How many hosts they are on.
fn count(places: &Places) -> usize {
    places.values().collect::<BTreeSet<_>>().len()
}

fn places(plan: &Plan<'_>, at: usize) -> Option<Places> {
    Some(plan.hosts_of(at)?.into_iter().map(|(machine, host)| (machine.clone(), host.clone())).collect())
}

/// The hosts, with what the plan puts on them.
fn after(hosts: &Hosts, wanted: &Wanted, places: &Places) -> Hosts {
    let (mut hosts, there) = (hosts.clone(), residents(hosts, wanted));
    for (machine, host) in places.iter().filter(|(machine, _)| !there.contains_key(*machine)) {
        let (environment, size) = (wanted.environment.clone(), wanted.machines[machine]);
        let placed = Placed { environment, machine: machine.clone(), size };
        hosts.get_mut(host).unwrap().machines.push(placed);
    }
    hosts
}

/// Does what a remedy says.
fn heal(hosts: &mut Hosts, wanted: &mut Wanted, remedy: &Remedy) {
    let cores = |cpus: u64| u32::try_from(cpus.div_ceil(4)).unwrap();
    match remedy {
        Remedy::Resume(host) => hosts.get_mut(host).unwrap().paused = false,
        Remedy::Return(host) => hosts.get_mut(host).unwrap().up = true,
        Remedy::Policy(policy) => wanted.rules = wanted.rules.with_policy(*policy),
        Remedy::Room { host, memory, cpus } => {
            let host = hosts.get_mut(host).unwrap();
            host.memory = ByteSize::bytes(host.memory.as_bytes() + memory.as_bytes());
            host.cores += cores(*cpus);
        }
        Remedy::Host { memory, cpus } => {
            let host = Host { memory: *memory, cores: cores(*cpus), ..host(0, 0) };
            hosts.insert("zz".parse().unwrap(), host);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_placement_is_allowed_and_every_refusal_says_what_is_wrong_with_each_host((hosts, wanted) in any_world()) {
        let wanted = [wanted];
        let plan = place(&hosts, &wanted, Limits::default());
        match (places(&plan, 0), plan.explain(0)) {
            (Some(places), Ok(decisions)) => {
                prop_assert!(is_allowed(&hosts, &wanted[0], &places), "{places:?}");
                let decided: usize = decisions.iter().map(|one| one.machines.len()).sum();
                prop_assert_eq!(decided, wanted[0].machines.len());
                for one in &decisions {
                    prop_assert!(one.machines.iter().all(|machine| places[machine] == one.host));
                    let least = one.others.iter().all(|(_, standing)| match standing {
                        Standing::Fits { load } => *load >= one.load,
                        Standing::Unfit(obstacles) => !obstacles.is_empty(),
                    });
                    prop_assert!(least || one.why != Why::LeastLoaded, "{one}");
                }
            }
            (None, Err(refusal)) => {
                prop_assert!(refusal.hosts.iter().all(|(_, obstacles)| !obstacles.is_empty()), "{refusal}");
                prop_assert_eq!(refusal.hosts.len(), hosts.len());
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn to_spread_and_to_pack_a_few_machines_are_refused_only_when_there_is_no_way(
        (hosts, mut wanted) in any_world(), spread in any::<bool>(),
    ) {
        wanted.rules = wanted.rules.with_policy(if spread { Policy::Spread } else { Policy::Pack });
        let ways = all_ways(&hosts, &wanted);
        match place(&hosts, std::slice::from_ref(&wanted), Limits::default()).explain(0) {
            Ok(_) => prop_assert!(!ways.is_empty()),
            Err(refusal) => prop_assert!(ways.is_empty() && refusal.certain, "{ways:?} {refusal}"),
        }
    }

    #[test]
    fn together_without_apart_is_refused_only_when_there_is_no_way((hosts, mut wanted) in any_world()) {
        wanted.rules = Rules::new(
            Policy::Together, wanted.rules.same_host().to_vec(), Vec::new(), wanted.machines.keys()
        ).unwrap();
        let ways = all_ways(&hosts, &wanted);
        let together = ways.iter().any(|way| is_together(&hosts, &wanted, way));
        let plan = place(&hosts, std::slice::from_ref(&wanted), Limits::default());
        match (places(&plan, 0), plan.explain(0)) {
            (Some(places), Ok(_)) => prop_assert!(is_together(&hosts, &wanted, &places)),
            (_, Err(refusal)) => prop_assert!(!together && refusal.certain, "{refusal}"),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn spread_takes_as_many_hosts_as_any_way_does_where_only_memory_is_scarce((mut hosts, mut wanted) in any_world()) {
        wanted.rules = Rules::default().with_policy(Policy::Spread);
        hosts.values_mut().for_each(|host| host.cores = 100);
        let plan = place(&hosts, std::slice::from_ref(&wanted), Limits::default());
        let first_choice = plan.explain(0).is_ok_and(|all| all.iter().all(|one| one.why != Why::Tried));
        if let Some(places) = places(&plan, 0).filter(|_| first_choice) {
            let most = all_ways(&hosts, &wanted).iter().map(count).max();
            prop_assert_eq!(Some(count(&places)), most);
        }
    }

    #[test]
    fn pack_takes_one_host_where_one_has_room_for_all((hosts, mut wanted) in any_world()) {
        wanted.rules = Rules::default().with_policy(Policy::Pack);
        let one = all_ways(&hosts, &wanted).iter().any(|way| count(way) == 1);
        if one && residents(&hosts, &wanted).is_empty() {
            let plan = place(&hosts, std::slice::from_ref(&wanted), Limits::default());
            prop_assert_eq!(places(&plan, 0).as_ref().map(count), Some(1));
        }
    }

    #[test]
    fn what_is_said_to_be_certain_is((hosts, wanted) in any_world()) {
        // With `apart`, together is a rule of thumb; but it never says more than it knows.
        let there = residents(&hosts, &wanted);
        let parts = wanted.rules.apart().iter().flatten().any(|machine| !there.contains_key(machine));
        if let Err(refusal) = place(&hosts, std::slice::from_ref(&wanted), Limits::default()).explain(0)
            && refusal.certain
        {
            let anywhere = parts || wanted.rules.policy() != Policy::Together;
            let together = |way: &&Places| anywhere || is_together(&hosts, &wanted, way);
            let ways = all_ways(&hosts, &wanted);
            prop_assert_eq!(ways.iter().find(together), None);
        }
    }

    #[test]
    fn nothing_is_refused_where_every_machine_could_have_a_host_with_room_for_all(
        wanted in any_environment("lab"), more in 0usize..3,
    ) {
        // How wrong a rule of thumb can be: never here, whatever the policy and the groups.
        let hosts = hosts((0..wanted.machines.len() + more).map(|_| host(5 * 5, 4)));
        prop_assert!(place(&hosts, std::slice::from_ref(&wanted), Limits::default()).hosts_of(0).is_some());
    }

    #[test]
    fn what_is_said_to_help_does((hosts, wanted) in any_world()) {
        let refused = place(&hosts, std::slice::from_ref(&wanted), Limits::default()).explain(0).err();
        for remedy in refused.iter().flat_map(|refusal| &refusal.remedies) {
            let (mut hosts, mut wanted) = (hosts.clone(), wanted.clone());
            heal(&mut hosts, &mut wanted, remedy);
            let helped = place(&hosts, std::slice::from_ref(&wanted), Limits::default());
            prop_assert!(helped.hosts_of(0).is_some(), "{remedy} does not help: {}", helped.explain(0).unwrap_err());
        }
    }

    #[test]
    fn many_environments_are_placed_as_one_after_the_other(
        all in prop::collection::vec(any_host(), 1..=6),
        first in any_environment("first"), second in any_environment("second"), third in any_environment("third"),
    ) {
        let (mut hosts, wanted) = (hosts(all), [first, second, third]);
        let input = hosts.clone();
        let plan = place(&input, &wanted, Limits::default());
        for (at, one) in wanted.iter().enumerate() {
            let alone = place(&hosts, std::slice::from_ref(one), Limits::default());
            prop_assert_eq!(places(&plan, at), places(&alone, 0));
            prop_assert_eq!(plan.explain(at), alone.explain(0));
            if let Some(places) = places(&plan, at) {
                prop_assert!(is_allowed(&hosts, one, &places));
                hosts = after(&hosts, one, &places);
            }
        }
        // And placed again, everything stays.
        let again = place(&hosts, &wanted, Limits::default());
        for at in 0..wanted.len() {
            prop_assert!(places(&plan, at).is_none_or(|before| places(&again, at) == Some(before)));
        }
    }

    #[test]
    fn the_order_of_hosts_and_of_what_is_on_them_does_not_matter((hosts, wanted) in any_world()) {
        let mut turned: Vec<(HostName, Host)> = hosts.clone().into_iter().rev().collect();
        turned.iter_mut().for_each(|(_, host)| host.machines.reverse());
        let turned: Hosts = turned.into_iter().collect();
        let wanted = [wanted];
        let (one, other) = (place(&hosts, &wanted, Limits::default()), place(&turned, &wanted, Limits::default()));
        prop_assert_eq!(places(&one, 0), places(&other, 0));
        prop_assert_eq!(one.explain(0), other.explain(0));
    }
}
