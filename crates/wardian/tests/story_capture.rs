//! Every frame on the lab network, while environments are cloned and taken back: each is of one instance, and of its
//! own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    process::{Child, Stdio},
    time::{Duration, SystemTime},
};

use wardian_testkit::{Capture, Client, Frame, TestHost, What, wait};

const PEER: &str = "10.86.250.1";
const PREFIX: [u8; 3] = [192, 168, 23];

/// Talks all the time to whoever there is: outside by ICMP and TCP, inside by everything a guest broadcasts. What it
/// goes on with in a clone is a connection of its source's.
const TALK: &str = r#"#!/bin/sh
# One connection that goes on for ever, and one after the other once that is over; nothing is forked for it.
( while :; do ping -i 2 10.86.250.1 | nc 10.86.250.1 7000; sleep 2; done ) &
while :; do
    wget -q -T 2 -O /dev/null http://10.86.250.1/
    arping -q -c 1 -U -I eth0 $(ip -4 -o address show eth0 | sed "s,.*inet ,,; s,/.*,,")
    arping -q -c 1 -w 1 -I eth0 192.168.23.77
    udhcpc -n -q -f -i eth0 -t 2 -T 2 -s /bin/true
    echo x | nc -w 1 10.86.250.1 9
    sleep 7
done
"#;

fn file(name: &str, machines: &[&str]) -> String {
    let script: String = TALK.lines().map(|line| format!("        {line}\n")).collect();
    let machine = |name: &&str| {
        format!(
            "  {name}:
    image: micro
    memory: 128 MiB
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian
        cat > /etc/wardian/start <<'END'
{script}        END
        chmod +x /etc/wardian/start
"
        )
    };
    let machines: String = machines.iter().map(machine).collect();
    format!("name: {name}\nmachines:\n{machines}isolation: {{ fence: open }}\n")
}

/// An environment, as the lab network may see it.
struct Instance {
    name: String,
    from: SystemTime,
    until: Option<SystemTime>,
    mac: String,
    addresses: BTreeSet<Ipv4Addr>,
}

/// A program that serves the guests, until dropped.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All instances there were, and what nobody may ever see.
struct Lab<'a> {
    host: &'a TestHost,
    instances: Vec<Instance>,
    inside_macs: BTreeSet<String>,
}

impl Lab<'_> {
    /// Runs a command that makes instances.
    #[track_caller]
    fn make(&mut self, words: &[&str], names: &[String]) {
        let from = SystemTime::now();
        self.host.wardian(words).ok();
        for name in names {
            let status = self.host.status(name);
            let machines = status["machines"].as_array().unwrap();
            let text = |machine: &serde_json::Value, side: &str, key: &str| {
                machine[side][key].as_str().unwrap_or_else(|| panic!("no {side}.{key} in {machine}")).to_owned()
            };
            let macs: BTreeSet<_> = machines.iter().map(|machine| text(machine, "outside", "mac")).collect();
            assert_eq!(macs.len(), 1, "{status}");
            let addresses = machines.iter().map(|m| text(m, "outside", "address").parse().unwrap()).collect();
            self.inside_macs.extend(machines.iter().map(|machine| text(machine, "inside", "mac")));
            let mac = macs.into_iter().next().unwrap();
            self.instances.push(Instance { name: name.clone(), from, until: None, mac, addresses });
        }
    }

    #[track_caller]
    fn remove(&mut self, name: &str) {
        self.host.wardian(&["rm", name]).ok();
        let gone =
            self.instances.iter_mut().find(|instance| instance.name == name && instance.until.is_none()).unwrap();
        gone.until = Some(SystemTime::now());
    }

    /// What is wrong with a frame; nothing when it is as it should be, and then who sent it.
    fn judge(&self, frame: &Frame, others: &BTreeMap<String, Ipv4Addr>) -> Result<String, String> {
        let private = |address: Ipv4Addr| address.octets()[..3] == PREFIX;
        let (source, named) = match &frame.what {
            What::Arp { mac, sender, .. } if *mac != frame.from => {
                return Err(format!("{sender} is said to be at {mac}"));
            }
            What::Arp { sender, target, .. } => (*sender, vec![*target]),
            What::Ipv4 { source, destination, about, .. } => {
                let about = about.iter().flat_map(|(source, destination)| [*source, *destination]);
                (*source, [*destination].into_iter().chain(about).collect())
            }
            What::Other(kind) => return Err(format!("nobody speaks {kind:#06x}")),
        };
        if let Some(address) = [source].into_iter().chain(named).find(|address| private(*address)) {
            return Err(format!("{address} is private"));
        }
        if let Some(mac) = [&frame.from, &frame.to].into_iter().find(|mac| self.inside_macs.contains(*mac)) {
            return Err(format!("{mac} is an inside MAC"));
        }
        if let Some(own) = others.get(&frame.from) {
            let told = matches!(&frame.what, What::Arp { .. }) && source.is_unspecified();
            return match source == *own || told {
                true => Ok(format!("peer {own}")),
                false => Err(format!("{source} is not {own}")),
            };
        }
        // An edge's MAC comes back when the address pool gives the same slot to a later instance.
        let alive = self.instances.iter().find(|instance| {
            instance.mac == frame.from
                && instance.from <= frame.at
                && instance.until.is_none_or(|until| frame.at <= until)
        });
        match alive {
            None => Err(format!("nobody alive has {}", frame.from)),
            Some(instance) if instance.addresses.contains(&source) => Ok(instance.name.clone()),
            Some(instance) => Err(format!("{source} is not one of {}: {:?}", instance.name, instance.addresses)),
        }
    }
}

/// Waits until every machine that runs has asked somebody something, from now on: who had its address before may have
/// spoken already.
#[track_caller]
fn everybody_talks(lab: &Lab<'_>, capture: &Capture) {
    let alive = lab.instances.iter().filter(|instance| instance.until.is_none());
    let all: BTreeSet<_> = alive.flat_map(|instance| &instance.addresses).map(ToString::to_string).collect();
    let asked = || {
        let mut asked: BTreeMap<String, u32> = BTreeMap::new();
        for line in capture.seen("icmp[icmptype] == icmp-echo") {
            // `… IPv4 (0x0800), length 98: 10.86.0.1 > 10.86.250.1: ICMP echo request, …`
            let source = line.split_once(" > 10.86").and_then(|(before, _)| before.rsplit_once(' '));
            if let Some((_, source)) = source {
                *asked.entry(source.to_owned()).or_default() += 1;
            }
        }
        asked
    };
    let before = asked();
    wait::until("everybody talks", wait::SOON, || {
        std::thread::sleep(Duration::from_millis(300));
        let now = asked();
        all.iter().all(|address| now.get(address) > before.get(address)).then_some(())
    });
}

fn numbered(name: &str, count: u32) -> Vec<String> {
    (1..=count).map(|number| format!("{name}-{number}")).collect()
}

#[test]
fn story_capture_shows_no_frame_of_another_instance() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let capture = Capture::on(&host.namespace(), "wardian0", host.folder().join("lab.pcap"));
    let peer = Client::on_lab(&host, &format!("{PEER}/16"));
    let _page = host.write("index.html", "a page\n");
    let page = format!("exec busybox httpd -f -p 80 -h {}", host.folder().display());
    // A listener for as many as come at a time.
    let listen = "exec busybox nc -ll -p 7000 -e /bin/cat";
    let served = [&*page, listen]
        .map(|words| Served(peer.inside("sh").args(["-c", words]).stderr(Stdio::null()).spawn().expect("a shell")));
    let mut lab = Lab { host: &host, instances: Vec::new(), inside_macs: BTreeSet::new() };

    for (name, machines) in [("one", &["m"][..]), ("two", &["web", "db"])] {
        let path = host.write(&format!("{name}.yaml"), &file(name, machines));
        lab.make(&["up", &path.to_string_lossy()], &[name.to_owned()]);
    }
    let addresses = ["one/m", "two/web", "two/db"].map(|machine| host.outside_address(machine));
    for address in &addresses {
        peer.command("ping", &["-c", "1", "-w", "30", address]).ok();
    }
    host.wardian(&["snapshot", "create", "one", "a"]).ok();
    host.wardian(&["snapshot", "create", "two", "a"]).ok();

    lab.make(&["clone", "one", "one", "--count", "20"], &numbered("one", 20));
    lab.make(&["clone", "two", "two", "--count", "5"], &numbered("two", 5));
    let all: Vec<_> = lab.instances.iter().map(|instance| instance.name.clone()).collect();
    // Each is itself at once: what one has from its source would be seen as the source's.
    for name in &all {
        let first = lab.instances.iter().find(|i| i.name == *name).unwrap().addresses.first().unwrap().to_string();
        peer.command("ping", &["-c", "1", "-w", "30", &first]).ok();
    }
    everybody_talks(&lab, &capture);
    // Enough of them are left for what follows.
    for name in &all {
        let number = name.rsplit_once('-').and_then(|(_, number)| number.parse::<u32>().ok());
        if number.is_some_and(|number| number > if name.starts_with("one") { 7 } else { 2 }) {
            lab.remove(name);
        }
    }
    // Its own, one it has got from its source, and one of another instance; some of them at a time.
    host.wardian(&["snapshot", "create", "one-7", "b"]).ok();
    let restores = [
        &["restore", "one", "a"][..],
        &["restore", "two", "a"],
        &["restore", "one-1", "one@a"],
        &["restore", "one-2", "one-7@b"],
        &["restore", "two-1", "two@a"],
        &["restore", "one-7", "b"],
    ];
    for begun in restores.map(|words| host.begin(words)) {
        begun.end(Duration::from_secs(90)).ok();
    }
    // Addresses that come back belong to whoever has them then.
    for name in ["one-3", "one-4", "two-2"] {
        lab.remove(name);
    }
    lab.make(&["clone", "one@a", "late", "--count", "3"], &numbered("late", 3));
    lab.make(&["clone", "two@a", "late-two"], &["late-two".to_owned()]);
    everybody_talks(&lab, &capture);

    let others = BTreeMap::from([
        (peer.mac(), PEER.parse().unwrap()),
        (host.mac_of("wardian0"), Ipv4Addr::new(10, 86, 255, 254)),
    ]);
    let frames = capture.end();
    drop(served);
    let mut counts: BTreeMap<String, BTreeMap<&str, u32>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for frame in &frames {
        match lab.judge(frame, &others) {
            Ok(sender) => *counts.entry(sender).or_default().entry(kind(&frame.what)).or_default() += 1,
            Err(why) => wrong.push(format!("{why}: {frame:?}")),
        }
    }
    let kinds = ["ARP", "ICMP", "TCP", "UDP", "other"];
    println!("{:<16}{}", "FROM", kinds.map(|kind| format!("{kind:>8}")).concat());
    for (sender, count) in &counts {
        let cells = kinds.map(|kind| format!("{:>8}", count.get(kind).copied().unwrap_or(0)));
        println!("{sender:<16}{}", cells.concat());
    }
    println!("{} frames of {} instances", frames.len(), lab.instances.len());
    assert!(
        wrong.is_empty(),
        "{} of {} frames, the first:\n{}",
        wrong.len(),
        frames.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
    // What was to be seen was there: everybody spoke, in every way that leaves an environment.
    for instance in &lab.instances {
        let count = counts.get(&instance.name).unwrap_or_else(|| panic!("nothing of {}", instance.name));
        assert!(count.contains_key("ICMP") && count.contains_key("ARP"), "{}: {count:?}", instance.name);
    }
}

const fn kind(what: &What) -> &'static str {
    match what {
        What::Arp { .. } => "ARP",
        What::Ipv4 { protocol: 1, .. } => "ICMP",
        What::Ipv4 { protocol: 6, .. } => "TCP",
        What::Ipv4 { protocol: 17, .. } => "UDP",
        What::Ipv4 { .. } | What::Other(_) => "other",
    }
}
