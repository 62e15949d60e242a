//! Without isolation two of a kind collide on the lab network; and only they: who is isolated notices nothing.
#![allow(missing_docs)]

mod common;

use common::{on_a_host, store};
use wardian_model::{environment::EnvironmentRecord, spec::IsolationMode};

fn bare(n: u8) -> EnvironmentRecord {
    let mut record = store(n, "open");
    record.spec.isolation.mode = IsolationMode::None;
    record
}

#[test]
fn two_without_isolation_collide_and_isolated_ones_do_not() {
    on_a_host(|host| async move {
        let plans = host.up(&[&bare(1), &bare(2), &store(3, "open"), &store(4, "open")]).await;
        let mut guests = Vec::new();
        for plan in &plans {
            guests.push(host.boot_configured(plan, 0).await);
        }
        let _servers: Vec<_> =
            guests.iter().zip(1..).map(|(guest, n)| guest.space.listen(80, &format!("n{n}"))).collect();
        let outsider = host.outsider();
        outsider.run("ip address add 192.168.23.77/24 dev eth0");
        let who = |address: &str| {
            let answer = outsider.fetch(address).unwrap_or_default();
            answer.split(' ').next().unwrap_or_default().to_owned()
        };
        // Who is met under the address and the hardware address that both have is who has spoken last.
        for n in [0, 1, 0, 1] {
            let place = format!("{} dev we{} master wardian0", plans[n].taps[0].mac, n + 1);
            common::eventually("the lab network knows who has spoken", || {
                guests[n].space.pings("192.168.23.77") && common::run("bridge fdb show").contains(&place)
            })
            .await;
            outsider.run("ip neigh replace 192.168.23.1 dev eth0 lladdr 02:57:00:00:00:01");
            assert_eq!(who("192.168.23.1"), format!("n{}", n + 1));
        }
        // Beside them the isolated ones are who they are, with the very same inside.
        for _ in 0..3 {
            assert_eq!((who("10.86.0.6"), who("10.86.0.8")), ("n3".to_owned(), "n4".to_owned()));
        }
        // And those without isolation get to none of these, nor to the host.
        for n in [0, 1] {
            for address in ["10.86.0.6", "10.86.0.8", "10.86.255.254"] {
                assert!(!guests[n].space.pings(address), "{n} reaches {address}");
            }
            // Also not with an address of the lab network: each can still be nobody but itself.
            guests[n].space.run("ip address add 10.86.9.9/16 dev eth0");
            assert!(!guests[n].space.pings("10.86.0.6"));
            assert!(
                host.count(&plans[n], "bridge", "forged_arp") + host.count(&plans[n], "bridge", "forged_address") > 0
            );
        }
    });
}
