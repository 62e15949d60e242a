//! What goes wrong on the way between a host and the others. The kernels that tests run on have no `netem`: loss is
//! made by nftables, slowness by a token bucket, and packets overtake each other in two queues of different speed.

use std::path::Path;

use crate::host::run_in;

/// Which way of a host's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What others say to it.
    In,
    /// What it says.
    Out,
}

/// What is wrong with a host's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes in this direction.
    Deaf(Way),
    /// Only so many kbit/s pass to it; the rest waits, or is dropped where too much waits.
    Slow(u32),
    /// Every fourth packet to it is overtaken by others.
    Reordered,
}

/// Makes the fault at the port of the hub that leads to a host.
pub(crate) fn make(hub: &Path, port: &str, fault: Fault) {
    match fault {
        Fault::Deaf(Way::In) => rules(hub, port, "postrouting", &format!("oifname {port} drop")),
        Fault::Deaf(Way::Out) => rules(hub, port, "prerouting", &format!("iifname {port} drop")),
        Fault::Slow(kbit) => {
            let rate = format!("{kbit}kbit");
            tc(hub, &["qdisc", "add", "dev", port, "root", "tbf", "rate", &rate, "burst", "16kb", "latency", "2s"]);
        }
        Fault::Reordered => {
            // A bucket that is empty after one packet: whoever comes by it waits some milliseconds.
            tc(hub, &["qdisc", "add", "dev", port, "root", "handle", "1:", "htb", "default", "1"]);
            tc(hub, &["class", "add", "dev", port, "parent", "1:", "classid", "1:1", "htb", "rate", "10gbit"]);
            let slow = ["rate", "4mbit", "burst", "1600", "cburst", "1600"];
            tc(hub, &[&["class", "add", "dev", port, "parent", "1:", "classid", "1:2", "htb"][..], &slow].concat());
            rules(hub, port, "postrouting", &format!("oifname {port} numgen inc mod 4 0 meta priority set 1:2"));
        }
    }
}

/// Takes all faults of that port away.
pub(crate) fn mend(hub: &Path, port: &str) {
    // Whichever there are.
    let _ = run_in(hub, "tc", &["qdisc", "del", "dev", port, "root"]);
    let _ = run_in(hub, "nft", &["delete", "table", "bridge", &table(port)]);
}

fn table(port: &str) -> String {
    format!("faults-{port}")
}

fn rules(hub: &Path, port: &str, hook: &str, rule: &str) {
    let table = table(port);
    let chain = format!("add chain bridge {table} {hook} {{ type filter hook {hook} priority 0; }}");
    run_in(hub, "nft", &[&format!("add table bridge {table}; {chain}; add rule bridge {table} {hook} {rule}")]).ok();
}

fn tc(hub: &Path, words: &[&str]) {
    run_in(hub, "tc", words).ok();
}
