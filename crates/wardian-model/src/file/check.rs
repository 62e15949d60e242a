//! Whether the parts of a specification fit together: names that are named, addresses in the subnet, ports named
//! once. A pure function; places in a file are added by [`super::read`], what depends on the host is asked by
//! [`super::check_on`], the order of starts is looked at in [`super::graph`].

use std::collections::{HashMap, HashSet};

use super::{diagnostic::Severity, graph, walk::nearest};
use crate::{
    environment::Problem,
    mac::MacAddress,
    name::MachineName,
    size::ByteSize,
    spec::{EnvironmentSpec, Fence, GatewayError, IsolationMode, MachineSpec, Role},
};

mod acl;
mod network;

pub use acl::check_acl;
pub(super) use network::place_of;

/// The most machines one environment may have: what fits into one transaction of a store (etcd takes 128 operations).
pub const MAX_MACHINES: usize = 40;

/// The least memory a machine may have: 16 MiB.
pub const MIN_MEMORY: ByteSize = ByteSize::mib(16);

/// The smallest disk: 1 MiB.
const MIN_DISK: ByteSize = ByteSize::mib(1);

/// Which part of an entry a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

/// Something found in a specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The keys that lead to it, joined by slashes: `machines/web/start-after/0`. Empty for the whole.
    pub path: String,
    /// What of it is meant.
    pub part: Part,
    /// Whether the specification can be used in spite of it.
    pub severity: Severity,
    /// What it is.
    pub problem: Problem,
}

impl Finding {
    pub(super) fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), part: Part::Value, severity: Severity::Error, problem: Problem::new(message) }
    }

    pub(super) fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, message) }
    }

    pub(super) fn at_key(mut self) -> Self {
        self.part = Part::Key;
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.problem = self.problem.hint(hint);
        self
    }
}

/// Everything about `spec` that can't work, or probably isn't meant, on any host.
#[must_use]
pub fn check(spec: &EnvironmentSpec) -> Vec<Finding> {
    let mut found = Vec::new();
    let count = spec.machines.len();
    if count == 0 {
        let finding = Finding::error("machines", "the environment has no machines");
        found.push(finding.hint("write at least one, as in `web: { image: micro }`"));
    }
    if count > MAX_MACHINES {
        let message = format!("the environment has {count} machines; {MAX_MACHINES} at most");
        found.push(Finding::error("machines", message).at_key());
        return found;
    }
    for (name, machine) in &spec.machines {
        single(name, machine, &mut found);
    }
    hostnames(spec, &mut found);
    roles(spec, &mut found);
    spoofing(spec, &mut found);
    graph::check(spec, &mut found);
    network::check(spec, &mut found);
    isolation(spec, &mut found);
    gateway(spec, &mut found);
    exposed(spec, &mut found);
    acl::check(spec, &mut found);
    dependencies(spec, &mut found);
    found
}

/// What can be wrong with a machine alone.
fn single(name: &MachineName, machine: &MachineSpec, found: &mut Vec<Finding>) {
    let at = |key: &str| format!("machines/{name}/{key}");
    if machine.memory < MIN_MEMORY {
        let message = format!("{} of memory are too little for any machine", machine.memory);
        found.push(Finding::error(at("memory"), message).hint(format!("give it {MIN_MEMORY} at least")));
    }
    if machine.mac == Some(MacAddress::GATEWAY) {
        let message = format!("{} is the gateway's hardware address", MacAddress::GATEWAY);
        found.push(Finding::error(at("mac"), message).hint("choose another, or none to get one"));
    }
    if machine.cpus == 0 {
        found.push(Finding::error(at("cpus"), "a machine without processors can't run").hint("give it 1 at least"));
    }
    if let Some(disk) = machine.disk.filter(|disk| *disk < MIN_DISK) {
        let message = format!("{disk} are too little for a disk");
        found.push(Finding::error(at("disk"), message).hint("without `disk`, it is as large as its image"));
    }
    if machine.limits.cpu_percent == Some(0) {
        let finding = Finding::error(at("limits/cpu-percent"), "a machine that gets no processor time can't run");
        found.push(finding.hint("give it 1 at least, or remove the limit"));
    }
    if machine.ready.timeout.duration().is_zero() {
        let finding = Finding::error(at("ready/timeout"), "no machine is ready after no time at all");
        found.push(finding.hint("without `timeout`, it may take 5m"));
    }
    let Some(cloud_init) = &machine.cloud_init else { return };
    if let Some(user_data) = &cloud_init.user_data
        && !user_data.starts_with("#cloud-config")
        && !user_data.starts_with("#!")
    {
        let message = "this user data is neither a cloud-config nor a script, so most guests will ignore it";
        let finding = Finding::warning(at("cloud-init/user-data"), message);
        found.push(finding.hint("start its first line with `#cloud-config` or `#!`"));
    }
    for (n, key) in cloud_init.ssh_keys.iter().enumerate() {
        if key.trim().is_empty() || key.chars().any(char::is_control) {
            let finding = Finding::error(at(&format!("cloud-init/ssh-keys/{n}")), "an SSH key is one line of text");
            found.push(finding.hint("copy the line from a .pub file"));
        }
    }
}

/// Names that would mean two machines in the environment's DNS.
fn hostnames(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    let mut owners: HashMap<&str, &MachineName> = spec.machines.keys().map(|name| (name.as_str(), name)).collect();
    for (name, machine) in &spec.machines {
        let hostname = machine.hostname.as_ref().map_or(name.as_str(), |hostname| hostname.as_str());
        let full = hostname.len() + 1 + spec.network.domain.as_str().len();
        if full > 253 {
            let message = format!("the full name of {name} would have {full} characters; 253 at most");
            found.push(Finding::error(format!("machines/{name}/hostname"), message).hint("shorten the domain"));
        }
        let owner = *owners.entry(hostname).or_insert(name);
        if owner == name {
            continue;
        }
        let message = if owner.as_str() == hostname {
            format!("{name} has the hostname {hostname}, but that is another machine's name")
        } else {
            format!("{name} has the hostname {hostname}, and so has {owner}")
        };
        let finding = Finding::error(format!("machines/{name}/hostname"), message);
        found.push(finding.hint("a name must lead to one machine only; choose another"));
    }
}

/// One controller: the address of one machine is told to all as that of their name server.
fn roles(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    let mut controllers = spec.machines.iter().filter(|(_, machine)| machine.role == Some(Role::DomainController));
    let Some((first, _)) = controllers.next() else { return };
    for (name, _) in controllers {
        let message = format!("{first} is the domain controller already; an environment has one at most");
        let finding = Finding::error(format!("machines/{name}/role"), message);
        found.push(finding.hint("remove the role of one of the two"));
    }
}

/// Who may speak under other addresses does so inside, and only where there is an inside.
fn spoofing(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    for (name, machine) in spec.machines.iter().filter(|(_, machine)| machine.allow_spoofing) {
        let path = format!("machines/{name}/allow-spoofing");
        if !spec.is_isolated() {
            let message = "without isolation, what a machine forges would be forged on the lab network";
            found.push(Finding::error(path, message).hint("remove it, or the mode"));
        } else if machine.role == Some(Role::DomainController) {
            let message = format!("{name} is the domain controller, whom all machines know by its address");
            found.push(Finding::error(path, message).hint("remove it, or the role"));
        }
    }
}

fn gateway(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    let path = "isolation/gateway";
    found.extend(match spec.may_have_gateway(&spec.isolation.gateway) {
        Ok(()) => None,
        Err(GatewayError::NoSuchMachine(machine)) => Some(unknown_machine(spec, path.to_owned(), &machine)),
        Err(reason @ GatewayError::NoOutside(_)) => {
            Some(Finding::error(path, reason.to_string()).hint("choose another machine, host or per-machine"))
        }
        Err(reason @ GatewayError::SeveralSubnets) => {
            Some(Finding::error(path, reason.to_string()).hint("say host or per-machine, or write one `subnet`"))
        }
        Err(reason @ (GatewayError::SecondInterfaces | GatewayError::NoIsolation)) => {
            Some(Finding::error(path, reason.to_string()).hint("remove the gateway, or the mode"))
        }
    });
}

/// Who asks for no isolation says so twice: there is no fence to close.
fn isolation(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    let mode = spec.isolation.mode;
    if spec.network.subnets.are_several() && mode != IsolationMode::TwoWayNat {
        let message = format!("with mode {mode} an environment has one subnet, and this one has several");
        found.push(Finding::error("isolation/mode", message).hint("remove the mode, or write one `subnet`"));
    }
    if spec.is_isolated() {
        return;
    }
    if spec.isolation.fence == Fence::Open {
        let message =
            "without isolation, whoever else has the same names, addresses or hardware addresses collides with it";
        let finding = Finding::warning("isolation/mode", message);
        found.push(finding.hint("remove the mode, unless that is what shall be shown"));
    } else {
        let message = format!("without isolation there is no fence, so it can't be {}", spec.isolation.fence);
        let finding = Finding::error("isolation/mode", message);
        found.push(finding.hint("say `fence: open`, or remove the mode"));
    }
}

/// What is outside is the same for every clone: many a lab disaster began there.
fn dependencies(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    let own = spec.depends_outside.iter().enumerate().map(|(n, what)| (format!("depends-outside/{n}"), what));
    let of_machines = spec.machines.iter().flat_map(|(name, machine)| {
        let each = machine.depends_outside.iter().enumerate();
        each.map(move |(n, what)| (format!("machines/{name}/depends-outside/{n}"), what))
    });
    for (path, what) in own.chain(of_machines) {
        if what.trim().is_empty() || what.chars().any(char::is_control) {
            let finding = Finding::error(path, "say in a few words what it depends on outside");
            found.push(finding.hint("as in `the directory ldap://dc.contoso.com`"));
        } else if spec.isolation.fence != Fence::Sealed {
            let message =
                format!("{what} is outside: every clone will use it too, and isolation can't keep them apart there");
            let finding = Finding::warning(path, message);
            found.push(finding.hint("bring it inside as a machine, or clone with the fence sealed"));
        }
    }
}

fn exposed(spec: &EnvironmentSpec, found: &mut Vec<Finding>) {
    let mut ports = HashSet::new();
    let mut doors = HashMap::new();
    for (n, expose) in spec.isolation.expose.iter().enumerate() {
        let path = format!("isolation/expose/{n}");
        if let Some(unknown) = expose.machines().find(|machine| !spec.machines.contains_key(*machine)) {
            found.push(unknown_machine(spec, path, unknown));
            continue;
        }
        let mut reasons = expose.machines().map(|machine| spec.may_be_exposed(machine, &spec.isolation.gateway));
        if let Some(Err(reason)) = reasons.find(Result::is_err) {
            let finding = Finding::error(&path, reason.to_string());
            found.push(finding.hint("remove the port; machines of the environment reach it"));
            continue;
        }
        let twice: Vec<_> =
            expose.machines().filter(|machine| !ports.insert((*machine, expose.port, expose.protocol))).collect();
        if let Some(machine) = twice.first() {
            let message = format!("{machine}:{}/{} is exposed twice", expose.port, expose.protocol);
            found.push(Finding::error(&path, message).hint("remove one of the two"));
        } else if let Some(at) = expose.at
            && let Some(other) = doors.insert((at, expose.protocol), expose)
        {
            let message =
                format!("port {at}/{} of the host leads to {}:{} already", expose.protocol, other.who(), other.port);
            found.push(Finding::error(&path, message).hint("choose another port, or none to get a free one"));
        }
    }
    if spec.isolation.fence == Fence::Sealed && !spec.isolation.expose.is_empty() {
        let message = "nothing crosses a sealed fence, so these ports lead nowhere";
        let finding = Finding::warning("isolation/expose", message).at_key();
        found.push(finding.hint("they will once the fence is out-only; or remove them"));
    }
}

/// A machine that is named but isn't there.
pub(super) fn unknown_machine(spec: &EnvironmentSpec, path: String, name: &MachineName) -> Finding {
    let known = || spec.machines.keys().map(MachineName::as_str);
    let hint = match nearest(name.as_str(), known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if spec.machines.len() <= 10 => format!("the machines are {}", known().collect::<Vec<_>>().join(", ")),
        None => "machines are named by their keys under `machines`".to_owned(),
    };
    Finding::error(path, format!("there is no machine {name}")).hint(hint)
}
