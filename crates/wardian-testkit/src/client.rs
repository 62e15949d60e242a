//! A computer that is no machine of Wardian's, plugged into an environment's switch or the lab network: for clients
//! that are not ours, and for peers outside.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    Run, TestHost,
    host::{self, run_in},
};

/// A network namespace with one interface, `eth0`, on a switch. Dropped, it is unplugged and removed.
pub struct Client {
    name: String,
}

impl Client {
    /// Plugs a client into the switch of a running environment, under the hardware address of one of its machines,
    /// which should not run meanwhile. It has no address yet.
    ///
    /// # Panics
    /// When it can't be.
    #[must_use]
    #[track_caller]
    pub fn instead_of(host: &TestHost, machine: &str) -> Self {
        let (client, number) = Self::unplugged();
        let (environment, _) = machine.split_once('/').expect("ENVIRONMENT/NAME");
        let inside = &host.machine(machine)["inside"];
        let (mac, address) = (inside["mac"].as_str().expect("a MAC"), inside["address"].as_str().expect("an address"));
        let run = |words: &str| host.command_in(environment, "sh", &["-c", words]).ok();
        run(&format!(
            "ip link add client{number} type veth peer name eth0 address {mac} netns {}
             ip link set client{number} master br0 up",
            client.namespace().display()
        ));
        // The switch takes nothing from a port it doesn't know.
        run(&format!(
            "nft add element bridge wardian macs '{{ \"client{number}\" . {mac} }}'
             nft add element bridge wardian addresses '{{ \"client{number}\" . {address} }}'
             nft add element bridge wardian pairs '{{ \"client{number}\" . {mac} . {address} }}'"
        ));
        client.up();
        client
    }

    /// Plugs a client into the lab network, as somebody outside of all environments. `address` comes with its prefix
    /// length.
    ///
    /// # Panics
    /// When it can't be.
    #[must_use]
    #[track_caller]
    pub fn on_lab(host: &TestHost, address: &str) -> Self {
        let (client, number) = Self::unplugged();
        let words = format!(
            "ip link add client{number} type veth peer name eth0 netns {}
             ip link set client{number} master wardian0 up",
            client.namespace().display()
        );
        host.command("sh", &["-ec", &words]).ok();
        // It says nothing on its own.
        client.command("sh", &["-c", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"]).ok();
        client.up();
        client.command("ip", &["address", "add", address, "dev", "eth0"]).ok();
        client
    }

    #[track_caller]
    fn unplugged() -> (Self, u32) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let client = Self { name: format!("wardian-client-{}-{number}", std::process::id()) };
        let made = Command::new("ip").args(["netns", "add", &client.name]).status();
        assert!(made.is_ok_and(|status| status.success()), "the namespace {} can't be made", client.name);
        (client, number)
    }

    #[track_caller]
    fn up(&self) {
        self.command("ip", &["link", "set", "lo", "up"]).ok();
        self.command("ip", &["link", "set", "eth0", "up"]).ok();
    }

    /// Its hardware address.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    #[track_caller]
    pub fn mac(&self) -> String {
        host::mac_in(&self.namespace(), "eth0")
    }

    /// Gives it its address and default route by hand.
    ///
    /// # Panics
    /// When it has them already.
    #[track_caller]
    pub fn configure(&self, address: &str, gateway: &str) {
        self.command("ip", &["address", "add", address, "dev", "eth0"]).ok();
        self.command("ip", &["route", "add", "default", "via", gateway]).ok();
    }

    /// Runs a program there.
    #[must_use]
    #[track_caller]
    pub fn command(&self, program: &str, arguments: &[&str]) -> Run {
        run_in(&self.namespace(), program, arguments)
    }

    /// A program there, not started yet.
    #[must_use]
    pub fn inside(&self, program: &str) -> Command {
        host::inside(&self.namespace(), program)
    }

    fn namespace(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}
