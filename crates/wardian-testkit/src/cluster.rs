//! Hosts of a cluster: each a test host, joined by a physical network of several subnets with a router between them,
//! and real etcd members behind the same router.

use std::{net::Ipv4Addr, path::PathBuf};

use crate::{
    TestHost,
    etcd::{Certificates, EtcdCluster},
    faults::{self, Fault},
    image::micro,
};

/// A cluster. Dropped, it removes all it made.
pub struct TestCluster {
    /// Before the etcd: daemons end while their store is still there.
    hosts: Vec<TestHost>,
    /// Each host's configuration as one of the cluster.
    configurations: Vec<String>,
    etcd: EtcdCluster,
    certificates: Option<Certificates>,
    binary: PathBuf,
}

impl TestCluster {
    /// Starts so many members of etcd, with certificates or without; no host yet.
    ///
    /// # Panics
    /// When they don't come up.
    #[must_use]
    #[track_caller]
    pub fn new(binary: impl Into<PathBuf>, members: usize, tls: bool) -> Self {
        let certificates = tls.then(|| Certificates::new("a test's authority"));
        let etcd = EtcdCluster::start(members, certificates.as_ref());
        for subnet in [1, 2] {
            etcd.add_subnet(subnet);
        }
        Self { hosts: Vec::new(), configurations: Vec::new(), etcd, certificates, binary: binary.into() }
    }

    /// Adds a host in one of the two physical subnets (1 or 2), with its configuration; its daemon doesn't run yet.
    ///
    /// # Panics
    /// When it can't be made.
    #[track_caller]
    pub fn add_host(&mut self, name: &str, subnet: u8) -> usize {
        let number = self.hosts.len();
        let host = TestHost::without_daemon(&self.binary);
        let address = self.etcd.attach(&host.namespace(), subnet, number);
        self.hosts.push(host);
        let text = self.section(name, address, number);
        self.hosts[number].configure(&text);
        self.configurations.push(text);
        number
    }

    /// Adds a host and starts its daemon with a configuration that says nothing of a cluster.
    ///
    /// # Panics
    /// When it doesn't come up.
    #[track_caller]
    pub fn start_alone(&mut self, name: &str, subnet: u8) -> usize {
        let number = self.add_host(name, subnet);
        self.hosts[number].configure("");
        self.hosts[number].start_daemon(&[]);
        number
    }

    /// The configuration that makes a host one of the cluster, for [`TestHost::configure`].
    #[must_use]
    pub fn configuration(&self, number: usize) -> &str {
        &self.configurations[number]
    }

    /// `[cluster]` of a host.
    fn section(&self, name: &str, address: Ipv4Addr, number: usize) -> String {
        let certificates = self.certificates.as_ref().map_or_else(String::new, |certificates| {
            let identity = certificates.host(&format!("host-{number}"), &address.to_string());
            let [ca, certificate, key] = [certificates.ca(), identity.certificate, identity.key];
            format!("ca = '{}'\ncertificate = '{}'\nkey = '{}'\n", ca.display(), certificate.display(), key.display())
        });
        let endpoints = self.etcd.endpoints();
        format!("[cluster]\nname = '{name}'\nendpoints = {endpoints:?}\nprovider-address = '{address}'\n{certificates}")
    }

    /// Adds a host and starts its daemon.
    ///
    /// # Panics
    /// When it doesn't come up.
    #[track_caller]
    pub fn start_host(&mut self, name: &str, subnet: u8) -> usize {
        let number = self.add_host(name, subnet);
        self.hosts[number].start_daemon(&[]);
        number
    }

    /// The hosts, in the order they came.
    #[must_use]
    pub fn host(&self, number: usize) -> &TestHost {
        &self.hosts[number]
    }

    /// One of them, to start or stop its daemon.
    #[must_use]
    pub fn host_mut(&mut self, number: usize) -> &mut TestHost {
        &mut self.hosts[number]
    }

    /// Imports the image `micro` on a host.
    ///
    /// # Panics
    /// When it can't be.
    #[track_caller]
    pub fn import_micro(&self, number: usize) {
        let description = micro().join("image.json");
        self.hosts[number].wardian(&["image", "import", "micro", &description.to_string_lossy()]).ok();
    }

    /// The members of etcd.
    #[must_use]
    pub fn etcd(&mut self) -> &mut EtcdCluster {
        &mut self.etcd
    }

    /// Cuts a host off from everybody, or joins it again.
    ///
    /// # Panics
    /// When its link can't be changed.
    pub fn cut(&self, number: usize, cut: bool) {
        self.etcd.cut_host(number, cut);
    }

    /// Makes something wrong with a host's link, until [`TestCluster::mend`]; one thing at a time.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn make(&self, number: usize, fault: Fault) {
        faults::make(&self.etcd.hub(), &EtcdCluster::port(number), fault);
    }

    /// Mends a host's link.
    pub fn mend(&self, number: usize) {
        faults::mend(&self.etcd.hub(), &EtcdCluster::port(number));
    }
}
