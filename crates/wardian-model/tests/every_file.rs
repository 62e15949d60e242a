//! What holds for every file: a specification reads back as itself, and nothing in a file makes the reader panic.

use indexmap::IndexMap;
use ipnet::Ipv4Net;
use proptest::{collection, option, prelude::*};
use wardian_model::{
    encapsulation::Encapsulation,
    file::{Surroundings, check, check_on, read},
    mac::MacAddress,
    name::{Domain, EnvironmentName, Hostname, ImageName, MachineName, SubnetName},
    size::ByteSize,
    span::Span,
    spec::{
        CloudInit, EnvironmentSpec, Expose, Fence, Gateway, GenerationId, HttpProbe, IsolationMode, IsolationSpec,
        Limits, MachineSpec, NetworkSpec, PlacementPolicy, PlacementSpec, Probe, Protocol, Readiness, Role, Subnets,
    },
};

const EXAMPLE: &str = include_str!("../../../examples/store.yaml");

fn label() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", Just("no".to_owned()), Just("null".to_owned()), "[0-9]{1,3}e[0-9]"]
}

fn port() -> impl Strategy<Value = std::num::NonZeroU16> {
    (1_u16..).prop_map(|port| port.try_into().unwrap())
}

fn readiness() -> impl Strategy<Value = Readiness> {
    let probe = prop_oneof![
        Just(Probe::Agent),
        port().prop_map(Probe::Tcp),
        (port(), "/[!-~]{0,8}").prop_map(|(port, path)| Probe::Http(HttpProbe { port, path })),
        ("[!-~]{1,8}", collection::vec(any::<String>(), 0..3))
            .prop_map(|(program, arguments)| { Probe::Exec(std::iter::once(program).chain(arguments).collect()) }),
    ];
    (probe, 1_u64..100_000).prop_map(|(probe, seconds)| Readiness { probe, timeout: Span::seconds(seconds) })
}

fn subnet_name() -> impl Strategy<Value = SubnetName> {
    prop_oneof![Just("front"), Just("back"), Just("no")].prop_map(|name| SubnetName::new(name).unwrap())
}

/// One without a name, or up to three with names.
fn subnets() -> impl Strategy<Value = Subnets> {
    let net = || (any::<std::net::Ipv4Addr>(), 0_u8..=32).prop_map(|(net, prefix)| Ipv4Net::new(net, prefix).unwrap());
    let named = collection::vec((subnet_name(), net()), 1..4);
    prop_oneof![net().prop_map(Subnets::one), named.prop_map(|all| Subnets::named(all.into_iter().collect()).unwrap())]
}

fn machine() -> impl Strategy<Value = MachineSpec> {
    let first = (
        (label(), option::of(Just(Role::DomainController))),
        option::of(label()),
        any::<u64>(),
        any::<u8>(),
        option::of(any::<u64>()),
        option::of(any::<std::net::Ipv4Addr>()),
        (option::of(any::<u32>()), option::of(subnet_name())),
    );
    let second = (
        collection::vec(label(), 0..3),
        readiness(),
        option::of((collection::vec(any::<String>(), 0..2), option::of(any::<String>()))),
        option::of(any::<u32>()),
        any::<bool>(),
        collection::vec("[ -~]{1,12}", 0..2),
    );
    (first, second).prop_map(
        |(
            ((image, role), hostname, memory, cpus, disk, address, (mac, subnet)),
            (after, ready, cloud_init, cpu_percent, keeps, depends_outside),
        )| MachineSpec {
            image: ImageName::new(image).unwrap(),
            role,
            hostname: hostname.map(|name| Hostname::new(name).unwrap()),
            memory: ByteSize::bytes(memory),
            cpus,
            disk: disk.map(ByteSize::bytes),
            address,
            subnet,
            mac: mac.map(MacAddress::local),
            start_after: after.into_iter().map(|name| MachineName::new(name).unwrap()).collect(),
            ready,
            cloud_init: cloud_init.map(|(ssh_keys, user_data)| CloudInit { ssh_keys, user_data }),
            acl: Vec::new(),
            allow_spoofing: false,
            limits: Limits { cpu_percent, network_in: None, network_out: None },
            generation_id: if keeps { GenerationId::Keep } else { GenerationId::Fresh },
            depends_outside,
        },
    )
}

fn expose() -> impl Strategy<Value = Expose> {
    let others = collection::btree_set(label(), 0..3);
    (label(), others, port(), any::<bool>(), option::of(port())).prop_map(|(machine, others, port, udp, at)| Expose {
        others: others.into_iter().filter(|other| *other != machine).map(|n| MachineName::new(n).unwrap()).collect(),
        machine: MachineName::new(machine).unwrap(),
        port,
        protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
        at,
    })
}

fn placement() -> impl Strategy<Value = PlacementSpec> {
    let policy =
        prop_oneof![Just(PlacementPolicy::Together), Just(PlacementPolicy::Spread), Just(PlacementPolicy::Pack)];
    let machine = || label().prop_map(|name| MachineName::new(name).unwrap());
    let groups = || collection::vec(collection::vec(machine(), 0..3), 0..3);
    (policy, groups(), groups()).prop_map(|(policy, same_host, apart)| PlacementSpec { policy, same_host, apart })
}

fn spec() -> impl Strategy<Value = EnvironmentSpec> {
    let machines = collection::vec((label(), machine()), 0..4);
    let encapsulation =
        prop_oneof![Just(Encapsulation::Nvgre), Just(Encapsulation::Vxlan), Just(Encapsulation::IpRewrite)];
    let network = (label(), label(), subnets(), option::of(encapsulation));
    let fence = prop_oneof![Just(Fence::Open), Just(Fence::OutOnly), Just(Fence::Sealed)];
    let gateway = prop_oneof![
        Just(Gateway::PerMachine),
        Just(Gateway::Host),
        label().prop_map(|name| Gateway::Machine(MachineName::new(name).unwrap())),
    ];
    let isolation = (fence, gateway, collection::vec(expose(), 0..3));
    (label(), machines, network, isolation, placement()).prop_map(
        |(name, machines, (a, b, subnets, encapsulation), (fence, gateway, expose), placement)| EnvironmentSpec {
            name: EnvironmentName::new(name).unwrap(),
            machines: machines
                .into_iter()
                .map(|(name, it)| (MachineName::new(name).unwrap(), it))
                .collect::<IndexMap<_, _>>(),
            network: NetworkSpec {
                domain: Domain::new(format!("{a}.{b}")).unwrap(),
                subnets,
                acl: Vec::new(),
                encapsulation,
            },
            isolation: IsolationSpec { mode: IsolationMode::TwoWayNat, fence, gateway, expose },
            placement,
            depends_outside: Vec::new(),
        },
    )
}

/// The same with everything the checks would refuse taken away.
fn mend(mut spec: EnvironmentSpec) -> EnvironmentSpec {
    let mut place = 0;
    spec.network.subnets = spec.network.subnets.map(|net| {
        place += 1;
        Ipv4Net::new([10, net.addr().octets()[1] / 4 * 4 + place, 0, 0].into(), 16).unwrap()
    });
    let (subnets, several) = (spec.network.subnets.clone(), spec.network.subnets.are_several());
    let (mut before, mut reachable) = (Vec::new(), Vec::new());
    for (n, (name, machine)) in spec.machines.iter_mut().enumerate() {
        machine.memory = machine.memory.max(ByteSize::mib(16));
        machine.disk = machine.disk.map(|disk| disk.max(ByteSize::mib(1)));
        machine.cpus = machine.cpus.max(1);
        machine.depends_outside.retain(|what| !what.trim().is_empty());
        machine.hostname = machine.hostname.take().map(|_| Hostname::new(format!("a-long-hostname-{n}")).unwrap());
        machine.subnet = machine.subnet.take().filter(|name| subnets.get(name).is_some());
        let subnet = machine.subnet.as_ref().and_then(|name| subnets.get(name)).unwrap_or_else(|| subnets.first());
        machine.address = machine.address.map(|_| subnet.net.hosts().nth(n + 9).unwrap());
        machine.mac = machine.mac.map(|_| MacAddress::local(n.try_into().unwrap()));
        machine.start_after = before.clone();
        machine.limits.cpu_percent = machine.limits.cpu_percent.map(|percent| percent.max(1));
        for key in machine.cloud_init.iter_mut().flat_map(|it| &mut it.ssh_keys) {
            *key = format!("ssh-ed25519 {}", key.replace(char::is_control, " "));
        }
        if n > 0 {
            machine.role = None;
        }
        before.push(name.clone());
        reachable.extend(machine.role.is_none().then(|| name.clone()));
    }
    if spec.isolation.gateway.machine().is_some() {
        reachable.truncate(1);
        let only = reachable.first().filter(|_| !several).cloned();
        spec.isolation.gateway = only.map_or(Gateway::PerMachine, Gateway::Machine);
    }
    let mut free = reachable.iter().cloned();
    let expose = spec.isolation.expose.drain(..).map_while(|expose| {
        let machine = free.next()?;
        let others = free.by_ref().take(expose.others.len()).collect();
        Some(Expose { machine, others, at: None, ..expose })
    });
    spec.isolation.expose = expose.collect();
    spec
}

fn surroundings() -> Surroundings {
    Surroundings {
        lab: "10.0.0.0/8".parse().unwrap(),
        memory_total: Some(ByteSize::mib(1024)),
        images: Some(vec![ImageName::new("micro").unwrap()]),
    }
}

/// Reads, and shows whatever there is to show.
fn survive(text: &str) {
    match read(text, "any.yaml") {
        Ok(file) => {
            for shown in file.locate(check_on(&file.spec, &surroundings())) {
                assert!(!shown.to_string().is_empty());
            }
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert!(problem.line >= 1 && problem.column >= 1 && problem.length >= 1);
                assert!(!problem.source.chars().any(|c| c.is_control() && c != '\t'));
            }
            assert!(!error.to_string().is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_specification_reads_back_from_json(spec in spec()) {
        let text = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(&serde_json::from_str::<EnvironmentSpec>(&text).unwrap(), &spec);
    }

    #[test]
    fn every_sound_specification_reads_back_from_yaml(spec in spec()) {
        prop_assume!(!spec.machines.is_empty());
        let spec = mend(spec);
        let text = serde_saphyr::to_string(&spec).unwrap();
        let file = read(&text, "any.yaml").map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(file.spec, spec, "{}", text);
    }

    #[test]
    fn an_unsound_specification_is_refused_for_what_the_checks_find(spec in spec()) {
        let text = serde_saphyr::to_string(&spec).unwrap();
        let sound = check(&spec).iter().all(|finding| finding.severity == wardian_model::file::Severity::Warning);
        match read(&text, "any.yaml") {
            Ok(file) => {
                prop_assert!(sound, "{text}");
                prop_assert_eq!(file.spec, spec, "{}", text);
            }
            // Wrong in itself, but not unreadable: nothing but what the check finds is wrong.
            Err(error) => {
                let mut found: Vec<String> = check(&spec).into_iter().map(|finding| finding.problem.message).collect();
                let mut said: Vec<String> = error.problems.into_iter().map(|problem| problem.message).collect();
                found.retain(|message| said.contains(message));
                said.sort();
                found.sort();
                prop_assert_eq!(said, found, "{}", text);
            }
        }
    }

    #[test]
    fn no_specification_makes_the_checks_panic(spec in spec()) {
        let found = check(&spec).len() + check_on(&spec, &surroundings()).len();
        prop_assert!(found < 1000);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        survive(&text);
    }

    #[test]
    fn no_text_of_yaml_signs_makes_the_reader_panic(text in "([a-c:,\\[\\]{}&*!|>'\"#%@`~?<\\- \n\t0-9]|name: |machines:\n |web: |image: x){0,60}") {
        survive(&text);
    }

    #[test]
    fn no_change_of_a_good_file_makes_the_reader_panic(
        changes in collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[ -~\n\t\u{e9}\u{1f331}]{0,6}"), 1..4),
    ) {
        let mut characters: Vec<char> = EXAMPLE.chars().collect();
        for (at, removed, added) in changes {
            let at = at.index(characters.len());
            let end = (at + removed).min(characters.len());
            characters.splice(at..end, added.chars());
        }
        survive(&characters.into_iter().collect::<String>());
    }
}

#[test]
fn deep_and_growing_texts_are_refused() {
    survive(&"[".repeat(100_000));
    survive(&"- ".repeat(100_000));
    let mut bomb = "a0: &a0 [x, x]\n".to_owned();
    for n in 1..40 {
        bomb += &format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1);
    }
    assert!(read(&bomb, "bomb.yaml").is_err());
    assert!(
        read(&" ".repeat(wardian_model::file::MAX_LENGTH + 1), "long.yaml")
            .unwrap_err()
            .to_string()
            .contains("at most")
    );
}
