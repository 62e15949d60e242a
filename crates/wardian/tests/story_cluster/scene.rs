//! Two hosts in two physical subnets, and an environment that lies on both.

use std::time::Duration;

use wardian_testkit::{Inventory, TestCluster, TestHost, wait};

pub(crate) const SLOW: Duration = wait::SOON;

/// Hosts a and b in two physical subnets, the image on a, and what is there before anything is asked for.
pub(crate) fn two_hosts(cluster: &mut TestCluster) -> (usize, usize, [Inventory; 2]) {
    let (a, b) = (cluster.start_host("a", 1), cluster.start_host("b", 2));
    cluster.import_micro(a);
    let before = [a, b].map(|host| cluster.host(host).inventory());
    (a, b, before)
}

/// The example, with a machine on each host.
pub(crate) fn spread(host: &TestHost) -> String {
    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/store.yaml")).unwrap();
    let path = host.write("store.yaml", &(example + "\nplacement: { policy: spread }\n"));
    path.to_string_lossy().into_owned()
}

/// But for the image that was taken along: it stays as long as it has a name.
pub(crate) fn nothing_is_left(cluster: &TestCluster, before: &[Inventory; 2]) {
    for (at, before) in before.iter().enumerate() {
        let host = cluster.host(at);
        // Layers of a part go a moment after the environment's records.
        wait::until("no layer is left", SLOW, || host.inventory().count("/layers/").eq(&0).then_some(()));
        host.inventory().without("vault/images").adds_nothing_to(before);
    }
}
