//! Values on the wire, as tests of rendering want them.

use wardian_api::wire::*;

pub(crate) const NOW: &str = "2026-03-01T12:00:00Z";

pub(crate) fn summary() -> EnvironmentSummary {
    EnvironmentSummary {
        name: "store".into(),
        id: "00000000000000aa".into(),
        phase: EnvironmentPhase::Running,
        machines_total: 2,
        machines_ready: 2,
        created: "2026-03-01T11:55:00Z".into(),
        fence: Fence::OutOnly,
        origin: Origin::File,
        host: None,
        hosts: Vec::new(),
        owner: None,
        expires: None,
        problem: None,
    }
}

pub(crate) fn clone_summary() -> EnvironmentSummary {
    EnvironmentSummary {
        name: "store-2".into(),
        phase: EnvironmentPhase::Starting,
        machines_ready: 0,
        created: "2026-03-01T11:59:52Z".into(),
        fence: Fence::Sealed,
        origin: Origin::Clone {
            name: "store".into(),
            id: "00000000000000aa".into(),
            snapshot: None,
            cut: "00000000000000cc".into(),
        },
        ..summary()
    }
}

pub(crate) fn failed_summary() -> EnvironmentSummary {
    EnvironmentSummary {
        name: "shop".into(),
        phase: EnvironmentPhase::Failed,
        machines_ready: 1,
        created: "2026-02-01T12:00:00Z".into(),
        problem: Some(problem()),
        ..summary()
    }
}

pub(crate) fn problem() -> Problem {
    Problem {
        message: "machine web did not become ready within 5m: nothing accepts connections on tcp 80".into(),
        hint: Some("`wardian console shop/web` shows what it prints".into()),
        details: vec!["[    3.1] init: start".into(), "[    3.2] httpd: Address in use".into()],
    }
}

pub(crate) fn machine(name: &str, n: u8) -> MachineDetail {
    MachineDetail {
        name: name.into(),
        phase: MachinePhase::Ready,
        why: None,
        problem: None,
        host: None,
        image: "micro".into(),
        memory_bytes: 192 << 20,
        cpus: 1,
        agent: Agent::Answers { version: "10.0.2".into() },
        second: None,
        pid: Some(4000 + u32::from(n)),
        since: Some("2026-03-01T11:55:01Z".into()),
        ready_after_ms: Some(3_849),
        inside: inside(name, n),
        outside: Some(outside(n)),
        provider_address: None,
        exposed: Vec::new(),
    }
}

fn inside(name: &str, n: u8) -> Inside {
    Inside {
        hostname: format!("{name}-server"),
        fqdn: format!("{name}-server.lab.contoso.com"),
        address: format!("192.168.23.{n}"),
        mac: format!("52:57:00:00:00:{n:02x}"),
        uuid: "6b1c0a52-7f0e-4f3a-9a53-1f1f6f1d0001".into(),
    }
}

fn outside(n: u8) -> Outside {
    Outside { address: format!("10.86.0.{n}"), mac: "52:57:01:00:00:07".into() }
}

pub(crate) fn exposure(port: u16, protocol: Protocol, at: u16) -> Exposure {
    Exposure { machine: "web".into(), port, protocol, at, address: "10.86.0.1".into(), with: Vec::new(), out: None }
}

pub(crate) fn detail() -> EnvironmentDetail {
    let web = MachineDetail { exposed: vec![exposure(80, Protocol::Tcp, 20000)], ..machine("web", 1) };
    let db = MachineDetail { agent: Agent::Silent, ready_after_ms: Some(65_000), ..machine("db", 2) };
    EnvironmentDetail {
        summary: summary(),
        machines: vec![web, db],
        subnet: "192.168.23.0/24".into(),
        subnets: Vec::new(),
        joined: Vec::new(),
        domain: "lab.contoso.com".into(),
        gateway: "192.168.23.254".into(),
        mode: "two-way-nat".into(),
        outside_by: "per-machine".into(),
        fence_counters: [("fence-in", 12), ("fence-out", 0), ("forged-mac", 1), ("parked", 4)]
            .map(|(reason, count)| (reason.to_owned(), count))
            .into(),
        denied: vec![
            AclDenied { machine: "web".into(), inward: 0, outward: 3 },
            AclDenied { machine: "db".into(), inward: 9, outward: 0 },
        ],
        operation: None,
        lineage: Vec::new(),
        snapshots: Vec::new(),
        at: None,
    }
}

/// On two hosts.
pub(crate) fn stretched_detail() -> EnvironmentDetail {
    let all = detail();
    let machines = all.machines.into_iter().zip(["a", "b"]);
    EnvironmentDetail {
        summary: EnvironmentSummary { host: Some("a".into()), hosts: vec!["a".into(), "b".into()], ..all.summary },
        machines: machines.map(|(machine, host)| MachineDetail { host: Some(host.into()), ..machine }).collect(),
        fence_counters: Default::default(),
        denied: Vec::new(),
        ..detail()
    }
}

pub(crate) fn clone_detail() -> EnvironmentDetail {
    let ancestor = |name: &str, snapshot: Option<&str>, exists| Ancestor {
        name: name.into(),
        id: "00000000000000aa".into(),
        exists,
        snapshot: snapshot.map(Into::into),
    };
    let own = Snapshot { environment: "store-2".into(), ..snapshot("own", 9, Some(1), 5, SnapshotPhase::Ready) };
    EnvironmentDetail {
        summary: EnvironmentSummary {
            owner: Some("ana".into()),
            expires: Some("2026-03-01T14:05:00Z".into()),
            ..clone_summary()
        },
        machines: vec![machine("web", 1)],
        lineage: vec![ancestor("store", Some("clean"), true), ancestor("base", None, false)],
        snapshots: vec![Snapshot { memory: Some(false), saved_bytes: Some(0), ..own }],
        at: Some(SnapshotPlace { environment: "store".into(), name: "clean".into(), id: id(1) }),
        fence_counters: Default::default(),
        denied: Vec::new(),
        ..detail()
    }
}

fn id(n: u64) -> String {
    format!("{n:016x}")
}

/// Taken so many minutes before [`NOW`], up to two hours.
fn snapshot(name: &str, n: u64, parent: Option<u64>, minutes: u8, phase: SnapshotPhase) -> Snapshot {
    let (hour, minute) = (11 - (minutes - 1) / 60, 59 - (minutes - 1) % 60);
    Snapshot {
        name: name.into(),
        id: id(n),
        environment: "store".into(),
        created: format!("2026-03-01T{hour}:{minute:02}:00Z"),
        parent: parent.map(id),
        phase,
        memory: None,
        saved_bytes: None,
        pause_us: None,
        problem: None,
    }
}

pub(crate) fn snapshots() -> SnapshotList {
    use SnapshotPhase::{Failed, Ready, Saving, Taking};
    let ready = |memory: bool, mib: u64, snapshot: Snapshot| Snapshot {
        memory: Some(memory),
        saved_bytes: Some(mib << 20),
        pause_us: Some(14_200),
        ..snapshot
    };
    SnapshotList {
        environment: "store".into(),
        snapshots: vec![
            ready(true, 31, snapshot("clean", 1, None, 120, Ready)),
            ready(true, 4, snapshot("patched", 2, Some(1), 58, Ready)),
            snapshot("broken", 3, Some(2), 30, Failed),
            ready(false, 0, snapshot("other", 4, Some(1), 10, Ready)),
            // Grown from a snapshot that is another environment's, or gone.
            snapshot("elsewhere", 5, Some(77), 1, Saving),
            snapshot("other-2", 6, Some(4), 1, Taking),
        ],
        at: Some(SnapshotPlace { environment: "store".into(), name: "other".into(), id: id(4) }),
    }
}

pub(crate) fn conflicts() -> Conflicts {
    let party = |environment: &str, machine: Option<&str>, value: &str| Party {
        environment: environment.into(),
        machine: machine.map(Into::into),
        value: value.into(),
    };
    let clash = |kind, value: &str, between| Clash { kind, value: value.into(), between };
    let (gateway, wide) = ("192.168.23.254", "192.168.0.0/16");
    let contender = |name: &str| Contender {
        name: name.into(),
        since: "2026-03-01T11:00:00Z".into(),
        clone_of: None,
        clone_of_snapshot: None,
        restored_to: None,
        restored_of: None,
        restored_taken: None,
    };
    Conflicts {
        conflicts: vec![
            clash(
                ClashKind::ComputerName,
                "web-server",
                vec![party("copy", Some("web"), "web-server"), party("store", Some("web"), "web-server")],
            ),
            clash(
                ClashKind::Address,
                gateway,
                vec![party("large", Some("old"), gateway), party("store", None, gateway)],
            ),
            clash(ClashKind::Subnet, wide, vec![party("large", None, wide), party("store", None, "192.168.23.0/24")]),
        ],
        environments: vec![
            Contender {
                clone_of: Some("store".into()),
                clone_of_snapshot: Some("clean".into()),
                restored_to: Some("later".into()),
                restored_of: Some("store".into()),
                restored_taken: Some("2026-03-01T11:30:00Z".into()),
                ..contender("copy")
            },
            contender("large"),
            contender("store"),
        ],
        warnings: Vec::new(),
    }
}

pub(crate) fn failed_detail() -> EnvironmentDetail {
    let web = MachineDetail {
        phase: MachinePhase::Failed,
        problem: Some(problem()),
        agent: Agent::Unknown,
        ready_after_ms: None,
        ..machine("web", 1)
    };
    let old = MachineDetail {
        phase: MachinePhase::Stopped,
        why: Some("the guest shut down".into()),
        agent: Agent::Unknown,
        ready_after_ms: None,
        ..machine("old", 3)
    };
    let steps = [("network", StepState::Done), ("web: ready", StepState::Doing), ("old: start", StepState::Waiting)];
    EnvironmentDetail {
        summary: failed_summary(),
        machines: vec![web, old],
        operation: Some(operation("shop", &steps)),
        fence_counters: Default::default(),
        denied: Vec::new(),
        ..detail()
    }
}

pub(crate) fn addresses() -> AddressList {
    let both = |name: &str, n, exposed| Addresses {
        machine: name.into(),
        inside: inside(name, n),
        outside: Some(outside(n)),
        provider_address: None,
        alias: Some(format!("{name}.store.wardian.internal")),
        opaque_alias: Some(format!("m-00000000000000{n:02x}.wardian.internal")),
        exposed,
    };
    let exposed = vec![exposure(80, Protocol::Tcp, 20000), exposure(53, Protocol::Udp, 5353)];
    AddressList { environment: "store".into(), addresses: vec![both("web", 1, exposed), both("db", 2, Vec::new())] }
}

pub(crate) fn host_report() -> HostReport {
    let check = |name: &str, verdict, message: &str, hint: Option<&str>| Check {
        name: name.into(),
        verdict,
        message: message.into(),
        hint: hint.map(Into::into),
    };
    HostReport {
        checks: vec![
            check("qemu", Verdict::Ok, "QEMU 10.0.2 at /usr/bin/qemu-system-x86_64", None),
            check(
                "accelerator",
                Verdict::Warning,
                "tcg: /dev/kvm is there but hangs guests",
                Some("enable nested virtualization"),
            ),
            check("nftables", Verdict::Failed, "nft is not installed", Some("install the package nftables")),
        ],
    }
}

pub(crate) fn network() -> NetworkState {
    let subnet = |vsid, kind, environment: Option<&str>, packets: u64| SubnetTraffic {
        vsid,
        kind,
        environment: environment.map(Into::into),
        out_packets: packets,
        out_bytes: packets * 900,
        in_packets: packets / 2,
        in_bytes: packets / 2 * 66,
    };
    let dropped = |reason: &str, why: &str, frames| Dropped { reason: reason.into(), why: why.into(), frames };
    NetworkState {
        underlay: Some(Underlay {
            device: "eth1".into(),
            provider_address: "10.1.0.1".into(),
            encapsulation: "nvgre".into(),
            mtu: 1458,
        }),
        subnets: vec![
            subnet(4096, SubnetKind::LabNetwork, None, 12_345),
            subnet(4097, SubnetKind::Environment, Some("store"), 80),
            subnet(4099, SubnetKind::Gone, None, 2),
        ],
        dropped: vec![
            dropped("too-big", "they don't fit into a frame of the physical network", 3),
            dropped("malformed", "they are cut off, or make no sense", 0),
        ],
    }
}

pub(crate) fn operation(environment: &str, steps: &[(&str, StepState)]) -> Operation {
    Operation {
        id: "00000000000000bb".into(),
        kind: OperationKind::Up,
        environment: environment.into(),
        environment_id: "00000000000000aa".into(),
        created: "2026-03-01T11:55:00Z".into(),
        steps: steps.iter().map(|(name, state)| Step { name: (*name).into(), state: *state, note: None }).collect(),
        state: OperationState::Running,
        finished: None,
        problem: None,
    }
}

pub(crate) fn image() -> Image {
    Image {
        name: "micro".into(),
        digest: "c0ffee0123456789c0ffee0123456789c0ffee0123456789c0ffee0123456789".into(),
        virtual_size_bytes: 1 << 30,
        disk_size_bytes: 12 << 20,
        format: "raw".into(),
        kernel: true,
        imported: "2026-03-01T10:00:00Z".into(),
    }
}
