//! The example of the front page: a shop and its database come up, are cloned, and neither copy notices the other.

use std::{fs, path::Path};

use serde_json::Value;
use wardian_testkit::TestHost;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/store.yaml");

/// The identities of `web` and `db`.
#[track_caller]
fn addresses(host: &TestHost, environment: &str) -> Vec<Value> {
    let list = host.wardian(&["addresses", environment, "--json"]).json();
    list["addresses"].as_array().unwrap_or_else(|| panic!("no addresses in {list}")).clone()
}

/// The page of an environment's web server, at its public address.
#[track_caller]
fn page(host: &TestHost, environment: &str, query: &str) -> String {
    let address = host.outside_address(&format!("{environment}/web"));
    host.curl(&format!("http://{address}/cgi-bin/index.cgi{query}")).ok()
}

/// The generation id a machine's QEMU was given: the guest sees it change, nobody else does.
#[track_caller]
fn generation(host: &TestHost, machine: &str) -> String {
    let pid = host.pid_of(machine).unwrap_or_else(|| panic!("{machine} has no process"));
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    line.split('\0').find_map(|word| word.strip_prefix("vmgenid,guid=")).unwrap().to_owned()
}

#[test]
fn story_store_and_its_clone_have_one_inside_and_two_outsides() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let before = host.inventory();
    assert!(Path::new(EXAMPLE).exists());
    host.wardian(&["up", EXAMPLE]).ok();

    // The page asks the database by its name and by its address.
    let first = page(&host, "store", "");
    assert_eq!(first, "I am web-server.\ndb-server.lab.contoso.com says:\na fern\n192.168.23.2 says:\na fern\n");
    // The exposed port leads there by the host's own addresses too.
    let at = host.machine("store/web")["exposed"][0]["at"].as_u64().unwrap();
    for own in ["127.0.0.1", "localhost", "10.86.255.254"] {
        assert_eq!(host.curl(&format!("http://{own}:{at}/cgi-bin/index.cgi")).ok(), first, "by {own}");
    }

    page(&host, "store", "?put=an+orchid");
    host.wardian(&["clone", "store", "copy"]).ok();

    // Inside, everything is the same; outside, nothing is.
    for (one, other) in addresses(&host, "store").iter().zip(&addresses(&host, "copy")) {
        assert_eq!(one["inside"], other["inside"]);
        assert_ne!(one["outside"]["address"], other["outside"]["address"]);
        assert_ne!(one["outside"]["mac"], other["outside"]["mac"]);
    }
    for machine in ["web", "db"] {
        let [one, other] = [format!("store/{machine}"), format!("copy/{machine}")];
        // What the guests themselves say: name, SMBIOS UUID, MAC, address, and what the first boot left on the disk.
        let who = "hostname; cat /sys/class/dmi/id/product_uuid /sys/class/net/eth0/address \
                   /var/lib/wardian/instance-id; ip -4 -o address show eth0 | awk '{print $4}'";
        let said = host.script(&one, who);
        assert_eq!(said.lines().count(), 5, "{said}");
        assert_eq!(said, host.script(&other, who));
        assert_ne!(generation(&host, &one), generation(&host, &other));
    }
    assert!(page(&host, "copy", "").contains("192.168.23.2 says:\na fern\nan orchid\n"));

    // What is written into one never shows in the other.
    page(&host, "store", "?put=a+moss");
    page(&host, "copy", "?put=a+cactus");
    for (environment, its, others) in [("store", "a moss", "a cactus"), ("copy", "a cactus", "a moss")] {
        let text = page(&host, environment, "");
        assert_eq!(text.matches(its).count(), 2, "{environment}: {text}");
        assert!(!text.contains(others), "{environment}: {text}");
    }

    // Stopping and starting keeps disks and both identities.
    let identities = addresses(&host, "copy");
    host.wardian(&["down", "copy"]).ok();
    let address = identities[0]["outside"]["address"].as_str().unwrap();
    host.command("ping", &["-c", "1", "-W", "1", address]).fails_with(1);
    host.wardian(&["start", "copy"]).ok();
    assert_eq!(addresses(&host, "copy"), identities);
    let kept = page(&host, "copy", "");
    assert!(kept.contains("a fern\nan orchid\na cactus\n"), "{kept}");

    // The source goes first; the clone does not need it.
    host.wardian(&["rm", "store"]).ok();
    assert_eq!(page(&host, "copy", ""), kept);
    host.wardian(&["rm", "copy"]).ok();
    host.inventory().adds_nothing_to(&before);
}
