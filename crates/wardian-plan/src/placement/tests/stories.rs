//! Single environments on few hosts.

use super::{world::*, *};
use Policy::{Pack, Spread, Together};

#[test]
fn an_environment_is_kept_together_on_the_least_loaded_host_that_takes_all_of_it() {
    let hosts = hosts([host(64, 8).with("old/one", 20), host(64, 8).with("old/two", 10), host(8, 8)]);
    assert_eq!(placed(&hosts, &lab(Together, &[("web", 4), ("db", 8)])), Ok("web=b db=b".into()));
    // c is less loaded than either.
    assert_eq!(placed(&hosts, &lab(Together, &[("web", 4), ("db", 4)])), Ok("web=c db=c".into()));
}

#[test]
fn a_decision_says_what_each_host_was() {
    let hosts =
        hosts([host(64, 8).paused(), host(64, 8).with("old/one", 32), host(10, 8), host(64, 8).with("old/two", 40)]);
    assert_eq!(
        explained(&hosts, &lab(Together, &[("web", 4), ("db", 8)])),
        ["web and db on b: 20 GiB of 64 GiB free after it; chosen because it is the least loaded that fits, 50 %; \
          a is paused; c lacks 2 GiB of memory; d would do, 62 % loaded"]
    );
}

#[test]
fn an_environment_that_fits_no_host_whole_is_refused_with_what_would_help() {
    let hosts = hosts([host(64, 8).paused(), host(16, 8).with("old/one", 10), host(4, 8), host(64, 8).down()]);
    assert_eq!(
        placed(&hosts, &lab(Together, &[("web", 5), ("db", 4)])).unwrap_err(),
        "lab can't be placed: no host takes web and db (9 GiB and 2 vCPUs): a is paused; b lacks 3 GiB of memory; \
         c lacks 5 GiB of memory; d is down. What would help: resume a, bring d back, let it lie on several hosts \
         (policy pack), make room for 3 GiB more on b or add a host with room for 9 GiB and 2 vCPUs"
    );
}

#[test]
fn without_hosts_the_way_out_is_one() {
    assert_eq!(
        placed(&Hosts::new(), &lab(Together, &[("web", 1)])).unwrap_err(),
        "lab can't be placed: no host takes web (1 GiB and 1 vCPU): there are no hosts. What would help: \
         add a host with room for 1 GiB and 1 vCPU"
    );
}

#[test]
fn spread_takes_as_many_hosts_as_there_are_and_then_those_with_the_fewest_of_it() {
    let hosts = hosts([host(64, 8).with("old/one", 8), host(64, 8), host(64, 8).paused(), host(64, 8)]);
    let five = [("one", 1), ("two", 1), ("three", 1), ("four", 1), ("five", 1)];
    // b and d first, being empty; then a; then again those that are the least loaded.
    assert_eq!(placed(&hosts, &lab(Spread, &five)), Ok("one=b two=d three=a four=b five=d".into()));
}

#[test]
fn pack_takes_the_most_loaded_host_that_fits_all_and_several_when_none_does() {
    let hosts = hosts([host(64, 8).with("old/one", 58), host(64, 8).with("old/two", 50), host(64, 8)]);
    assert_eq!(placed(&hosts, &lab(Pack, &[("web", 4), ("db", 8)])), Ok("web=b db=b".into()));
    assert_eq!(placed(&hosts, &lab(Pack, &[("web", 4)])), Ok("web=a".into()));
    // 70 GiB: what the empty host takes, and the rest where it is tightest.
    assert_eq!(placed(&hosts, &lab(Pack, &[("web", 10), ("db", 30), ("log", 30)])), Ok("web=b db=c log=c".into()));
}

#[test]
fn pack_over_several_hosts_begins_where_most_of_it_fits_and_looks_at_what_can_come_along_only() {
    let hosts = hosts([host(64, 8).with("old/one", 44), host(64, 8).with("old/two", 14), host(30, 8)]);
    let six = ["one", "two", "three", "four", "five", "six"].map(|name| (name, 10));
    assert_eq!(placed(&hosts, &lab(Pack, &six)), Ok("one=b two=b three=b four=b five=b six=a".into()));
    // a has 20 GiB left: enough for one, and the other goes elsewhere anyway.
    let apart = lab_with(Pack, &[("one", 15), ("two", 15)], &[], &["one two"]);
    assert_eq!(placed(&hosts, &apart), Ok("one=a two=b".into()));
}

#[test]
fn spread_counts_machines_before_load_where_the_environment_is_everywhere() {
    let many = host(64, 8).with("lab/one", 1).with("lab/two", 1);
    let hosts = hosts([many, host(64, 8).with("lab/three", 40)]);
    let machines = [("one", 1), ("two", 1), ("three", 40), ("four", 1)];
    assert_eq!(placed(&hosts, &lab(Spread, &machines)), Ok("one=a two=a three=b four=b".into()));
}

#[test]
fn memory_is_never_promised_twice_and_processors_four_times() {
    let hosts = hosts([host(16, 1)]);
    let wanted = |count: usize, memory| {
        let names = ["one", "two", "three", "four", "five"];
        lab(Spread, &names[..count].iter().map(|name| (*name, memory)).collect::<Vec<_>>())
    };
    assert!(placed(&hosts, &wanted(4, 4)).is_ok());
    assert!(placed(&hosts, &wanted(4, 5)).unwrap_err().contains("a lacks 4 GiB of memory"));
    assert!(placed(&hosts, &wanted(5, 1)).unwrap_err().contains("a lacks 1 vCPU"));
    let once = Limits { vcpus_per_core: std::num::NonZeroU32::MIN };
    assert_eq!(place(&hosts, &[wanted(2, 1)], once).hosts_of(0), None);
}

#[test]
fn groups_hold_whatever_the_policy() {
    let hosts = hosts([host(64, 8), host(64, 8), host(64, 8)]);
    let machines = [("web", 4), ("cache", 4), ("db-1", 4), ("db-2", 4)];
    let groups = |policy| lab_with(policy, &machines, &["web cache"], &["db-1 db-2"]);
    assert_eq!(placed(&hosts, &groups(Spread)), Ok("web=a cache=a db-1=b db-2=c".into()));
    assert_eq!(placed(&hosts, &groups(Pack)), Ok("web=a cache=a db-1=a db-2=b".into()));
    // Only who must leave does.
    assert_eq!(placed(&hosts, &groups(Together)), Ok("web=a cache=a db-1=a db-2=b".into()));
}

#[test]
fn a_refusal_names_whom_a_machine_must_be_apart_from_and_whom_it_must_be_with() {
    let on_c = host(64, 8).with("lab/db-1", 4);
    let hosts = hosts([host(64, 8).paused(), host(5, 8).with("old/one", 4), on_c]);
    assert_eq!(
        placed(&hosts, &lab_with(Spread, &[("db-1", 4), ("db-2", 4)], &[], &["db-1 db-2"])).unwrap_err(),
        "lab can't be placed: no host takes db-2 (4 GiB and 1 vCPU): a is paused; b lacks 3 GiB of memory; \
         c runs db-1, which db-2 must be apart from. What would help: resume a, make room for 3 GiB more on b or \
         add a host with room for 4 GiB and 1 vCPU"
    );
    let hosts = super::world::hosts([host(64, 8), host(64, 8).with("lab/web", 4).paused()]);
    assert_eq!(
        placed(&hosts, &lab_with(Spread, &[("web", 4), ("cache", 4)], &["web cache"], &[])).unwrap_err(),
        "lab can't be placed: no host takes cache (4 GiB and 1 vCPU): a does not run web (b does), which cache must \
         be with; b is paused. What would help: resume b"
    );
}

#[test]
fn what_is_placed_stays_and_the_rest_joins_it() {
    let hosts = hosts([host(64, 8), host(64, 8).with("lab/web", 4), host(64, 8).with("old/one", 40)]);
    let both = [("web", 4), ("db", 4)];
    assert_eq!(placed(&hosts, &lab(Together, &both)), Ok("web=b db=b".into()));
    assert_eq!(
        explained(&hosts, &lab(Together, &both)),
        [
            "web on b: 60 GiB of 64 GiB free; is there already, and what is placed stays",
            "db on b: 56 GiB of 64 GiB free after it; chosen because web is there, which it goes with; \
             a is not where its environment is kept together (b); c is not where its environment is kept together (b)",
        ]
    );
    assert_eq!(placed(&hosts, &lab(Spread, &both)), Ok("web=b db=a".into()));
    assert_eq!(placed(&hosts, &lab(Pack, &both)), Ok("web=b db=b".into()));
    // Where it is there may be too little room; another host would part it.
    let refused = placed(&hosts, &lab(Together, &[("web", 4), ("db", 62)])).unwrap_err();
    assert!(refused.contains("a is not where its environment is kept together (b); b lacks 2 GiB"), "{refused}");
    assert!(refused.contains("let it lie on several hosts (policy pack)"), "{refused}");
    assert!(!refused.contains("add a host"), "{refused}");
}

#[test]
fn an_environment_gets_all_of_its_hosts_or_none_and_who_comes_later_finds_the_room() {
    let hosts = hosts([host(8, 8), host(8, 8)]);
    let named = |name: &str, wanted: Wanted| Wanted { environment: name.parse().unwrap(), ..wanted };
    let wanted = [
        named("first", lab(Spread, &[("one", 6)])),
        named("second", lab(Spread, &[("one", 6), ("two", 6)])),
        named("third", lab(Spread, &[("one", 8)])),
    ];
    let plan = place(&hosts, &wanted, Limits::default());
    assert!(plan.hosts_of(0).is_some() && plan.hosts_of(1).is_none() && plan.hosts_of(2).is_some());
    let refusal = plan.explain(1).unwrap_err();
    assert_eq!(refusal.before, [("one".parse().unwrap(), "b".parse().unwrap())]);
    assert!(refusal.certain);
    assert_eq!(plan.explain(2).unwrap()[0].host.as_str(), "b");
    assert_eq!(plan.hosts_of(3), None);
}

#[test]
fn a_choice_that_leaves_no_room_for_the_others_is_made_anew() {
    // The largest would take b, the less loaded; but the other two fit together only there.
    let hosts = hosts([host(10, 8).with("old/one", 4), host(11, 8).with("old/two", 1)]);
    let wanted = lab(Spread, &[("one", 6), ("two", 5), ("three", 5)]);
    assert_eq!(placed(&hosts, &wanted), Ok("one=a two=b three=b".into()));
    assert!(explained(&hosts, &wanted)[0].contains("with the hosts of first choice not all had come out"));
}

#[test]
fn a_refusal_after_too_many_tries_says_that_there_may_be_a_way() {
    // Machines of 3 and 5 GiB on hosts of 7, all of them different: there is no way, but nobody looks at all of them.
    let names: Vec<String> = (0..24).map(|number| format!("m{number}")).collect();
    let machines: Vec<(&str, u64)> =
        names.iter().enumerate().map(|(at, name)| (name.as_str(), if at % 2 == 0 { 3 } else { 5 })).collect();
    let hosts = hosts((0..17).map(|at| host(7, 8 + at)));
    assert!(placed(&hosts, &lab(Pack, &machines)).unwrap_err().contains("Not every way was tried"));
}
