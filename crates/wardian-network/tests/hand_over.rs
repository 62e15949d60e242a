//! From a machine's tap to its successor's, on the real kernel: what passes when, how quickly, and back again.
#![allow(missing_docs)]

mod common;

use std::{
    collections::HashMap,
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::{eventually, on_a_host, store};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wardian_model::name::MachineName;
use wardian_network::{HandOver, NetworkError};
use wardian_plan::network::{LabConfig, NetworkPlan, environment};

/// All frames that wait at a tap now, without the virtio header before each.
fn waiting(tap: &OwnedFd) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut buffer = vec![0; 70_000];
    loop {
        let mut end = [PollFd::new(tap.as_fd(), PollFlags::POLLIN)];
        if poll(&mut end, PollTimeout::ZERO).unwrap() == 0 || !end[0].revents().unwrap().contains(PollFlags::POLLIN) {
            return frames;
        }
        let length = nix::unistd::read(tap, &mut buffer).unwrap();
        frames.push(buffer[10..length].to_vec());
    }
}

fn to(plan: &NetworkPlan, machine: usize, tap: &str) -> (MachineName, String) {
    (plan.taps[machine].machine.clone(), tap.to_owned())
}

/// A frame of machine 0 to everybody, or to machine 1; one that the pins let pass, with a number in it.
fn numbered(plan: &NetworkPlan, destination: [u8; 6], number: u32) -> Vec<u8> {
    let from = &plan.taps[0];
    let packet = etherparse::PacketBuilder::ethernet2(from.mac.bytes(), destination)
        .ipv4(from.address.octets(), plan.taps[1].address.octets(), 64)
        .udp(7, 7);
    let mut frame = Vec::new();
    packet.write(&mut frame, &number.to_be_bytes()).unwrap();
    frame
}

/// Writes frames to a tap as a machine does: with an empty virtio header before each.
fn write(tap: &OwnedFd, frame: &[u8]) {
    let bytes = [&[0; 10][..], frame].concat();
    assert_eq!(nix::unistd::write(tap, &bytes).unwrap(), bytes.len());
}

#[test]
fn a_successors_tap_passes_nothing_before_its_turn() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "open")]).await.remove(0);
        let (web, db) = (&plan.taps[0], &plan.taps[1]);
        let sender = host.network.open_tap(&plan, &web.machine).await.unwrap();
        let old = host.network.open_tap(&plan, &db.machine).await.unwrap();
        let (new, name) = host.successor(&plan, 1).await;
        assert_eq!(name, db.twin);
        let shown = host.inside(&plan, &format!("ip -d link show {name}"));
        assert!(shown.contains("master br0") && shown.contains(",UP"), "{shown}");
        let mut taps = host.network.observe(&plan).await.unwrap().taps;
        taps.sort();
        assert_eq!(taps, [&*web.name, &*db.name, &*db.twin]);

        // It hears nothing: not what is for everybody, nor what is for its machine; not even when a fence changes.
        let _ = waiting(&old);
        for round in 0..3 {
            write(&sender, &numbered(&plan, [0xff; 6], 1));
            write(&sender, &numbered(&plan, db.mac.bytes(), 2));
            write(&sender, &numbered(&plan, [0x01, 0, 0x5e, 0, 0, 1], 3));
            assert_eq!(waiting(&old).len(), 3, "round {round}");
            assert_eq!(waiting(&new).len(), 0, "round {round}");
            // What the gateway itself says to everybody goes another way through the switch.
            host.inside(&plan, "sh -c 'ping -c1 -W0.1 -b 192.168.23.255; ping -c1 -W0.1 192.168.23.99; true'");
            assert!(!waiting(&old).is_empty(), "round {round}");
            assert_eq!(waiting(&new).len(), 0, "round {round}: the gateway's");
            let fence = ["sealed", "out-only", "open"][round];
            host.network.ensure(&environment(&store(1, fence), &LabConfig::default())).await.unwrap();
        }
        // Nor is it heard, and nothing is learned from it.
        let _ = waiting(&sender);
        let frame = etherparse::PacketBuilder::ethernet2(db.mac.bytes(), [0xff; 6])
            .ipv4(db.address.octets(), web.address.octets(), 64)
            .udp(7, 7);
        let mut bytes = Vec::new();
        frame.write(&mut bytes, b"early").unwrap();
        write(&new, &bytes);
        assert_eq!(waiting(&sender).len(), 0);
        let known = host.inside(&plan, "bridge fdb show br br0 dynamic");
        assert!(!known.contains(&db.mac.to_string()), "{known}");
        // What the old one says is.
        write(&old, &bytes);
        assert_eq!(waiting(&sender).len(), 1);
        let known = host.inside(&plan, "bridge fdb show br br0 dynamic");
        assert!(known.contains(&format!("{} dev {}", db.mac, db.name)), "{known}");

        // Handed over: the other way round, and the switch doesn't look for it where it was.
        host.network.hand_over(&plan, &[to(&plan, 1, &db.twin)]).await.unwrap();
        write(&sender, &numbered(&plan, db.mac.bytes(), 4));
        assert_eq!((waiting(&old).len(), waiting(&new).len()), (0, 1));
        write(&old, &bytes);
        assert_eq!(waiting(&sender).len(), 0);
        write(&new, &bytes);
        assert_eq!(waiting(&sender).len(), 1);
        write(&sender, &numbered(&plan, db.mac.bytes(), 5));
        assert_eq!((waiting(&old).len(), waiting(&new).len()), (0, 1));
        // Again is nothing new; and back.
        host.network.hand_over(&plan, &[to(&plan, 1, &db.twin)]).await.unwrap();
        write(&sender, &numbered(&plan, db.mac.bytes(), 6));
        assert_eq!((waiting(&old).len(), waiting(&new).len()), (0, 1));
        host.network.hand_over(&plan, &[to(&plan, 1, &db.name)]).await.unwrap();
        write(&sender, &numbered(&plan, db.mac.bytes(), 7));
        assert_eq!((waiting(&old).len(), waiting(&new).len()), (1, 0));
    });
}

#[test]
fn a_machine_has_two_taps_at_most_and_starts_once() {
    on_a_host(|host| async move {
        let record = store(1, "open");
        let plan = host.up(&[&record]).await.remove(0);
        let tap = plan.taps[1].clone();
        let machine = &tap.machine;
        let old = host.network.open_tap(&plan, machine).await.unwrap();
        let (new, _) = host.successor(&plan, 1).await;
        let busy = |r: Result<_, NetworkError>| matches!(r, Err(NetworkError::TapBusy { .. }));
        assert!(busy(host.network.open_successor_tap(&plan, machine).await));
        assert!(busy(host.network.open_tap(&plan, machine).await.map(|f| (f, String::new()))));
        host.network.hand_over(&plan, &[to(&plan, 1, &tap.twin)]).await.unwrap();
        drop(old);
        // Its machine runs, by the other name.
        assert!(busy(host.network.open_tap(&plan, machine).await.map(|f| (f, String::new()))));
        assert!(host.network.ensure(&plan).await.unwrap().is_empty());
        // The next successor gets the first name; this time it isn't used after all.
        let (next, name) = host.successor(&plan, 1).await;
        assert_eq!(name, tap.name);
        let mut ready = host.network.prepare_hand_over(&plan, &[to(&plan, 1, &name)]).await.unwrap();
        drop(next);
        assert!(matches!(ready.go(), Err(NetworkError::NoTap { .. })));
        ready.back().unwrap();
        let missing = host.network.hand_over(&plan, &[to(&plan, 1, &name)]).await;
        assert!(matches!(missing, Err(NetworkError::NoTap { .. })));
        assert!(matches!(host.network.hand_over(&plan, &[to(&plan, 1, "br0")]).await, Err(NetworkError::NoTap { .. })));
        let nobody = [("nobody".parse().unwrap(), name)];
        assert!(matches!(host.network.hand_over(&plan, &nobody).await, Err(NetworkError::NoMachine { .. })));

        let sender = host.network.open_tap(&plan, &plan.taps[0].machine).await.unwrap();
        write(&sender, &numbered(&plan, [0xff; 6], 1));
        assert_eq!(waiting(&new).len(), 1);

        // Whoever was killed in the middle of it: both pass nothing. One alone is made to pass by the next ensure.
        let (next, _) = host.successor(&plan, 1).await;
        drop(new);
        write(&sender, &numbered(&plan, [0xff; 6], 2));
        assert_eq!(waiting(&next).len(), 0);
        assert!(!host.network.ensure(&plan).await.unwrap().is_empty());
        write(&sender, &numbered(&plan, [0xff; 6], 3));
        assert_eq!(waiting(&next).len(), 1);
        assert!(host.network.ensure(&plan).await.unwrap().is_empty());
        // Two that are no ports are both joined, and both wait.
        let (second, _) = host.successor(&plan, 1).await;
        for name in tap.names() {
            host.inside(&plan, &format!("ip link set {name} nomaster"));
        }
        assert!(!host.network.ensure(&plan).await.unwrap().is_empty());
        assert!(host.network.ensure(&plan).await.unwrap().is_empty());
        write(&sender, &numbered(&plan, [0xff; 6], 4));
        assert_eq!((waiting(&next).len(), waiting(&second).len()), (0, 0));
        host.network.hand_over(&plan, &[to(&plan, 1, &tap.twin)]).await.unwrap();
        write(&sender, &numbered(&plan, [0xff; 6], 5));
        assert_eq!(waiting(&next).len() + waiting(&second).len(), 1);
    });
}

/// But for one that was under way to all ports in the very moment of a turn (see `HandOver`): with one sender, one at
/// most, and next to never: one in ten thousand turns has room for it. Turned the other way round, it is every fifth.
#[test]
fn no_frame_arrives_twice() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "open")]).await.remove(0);
        let sender = host.network.open_tap(&plan, &plan.taps[0].machine).await.unwrap();
        let first = host.network.open_tap(&plan, &plan.taps[1].machine).await.unwrap();
        let (second, twin) = host.successor(&plan, 1).await;
        let mut ready = host.network.prepare_hand_over(&plan, &[to(&plan, 1, &twin)]).await.unwrap();

        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, of) = (stop.clone(), plan.clone());
        let talk = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                // By turns to everybody and to the machine, which the switch doesn't know.
                let destination = if number % 2 == 0 { [0xff; 6] } else { of.taps[1].mac.bytes() };
                write(&sender, &numbered(&of, destination, number));
                number += 1;
                if number % 16 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            number
        });
        let mut seen: HashMap<u32, usize> = HashMap::new();
        // How many of the frames that have come since had come before.
        let mut again = || {
            let mut again = 0;
            for frame in [&first, &second].into_iter().flat_map(waiting) {
                if let Some(number) = frame.get(42..46) {
                    let count = seen.entry(u32::from_be_bytes(number.try_into().unwrap())).or_default();
                    *count += 1;
                    again += u32::from(*count > 1);
                }
            }
            again
        };
        let (mut turns, mut twice) = (0, 0);
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(2) {
            for turn in [HandOver::go, HandOver::back] {
                turn(&mut ready).unwrap();
                let now = again();
                assert!(now <= 1, "{now} in turn {turns}");
                (turns, twice) = (turns + 1, twice + now);
            }
        }
        stop.store(true, Ordering::Relaxed);
        let sent = talk.join().unwrap();
        twice += again();
        println!("{turns} hand-overs, {sent} frames sent, {} seen, {twice} twice", seen.len());
        assert!(twice <= 1 + turns / 10_000, "{twice} in {turns} turns");
        assert!(seen.len() > sent as usize / 2, "{} of {sent}", seen.len());
    });
}

#[test]
fn a_session_between_machines_survives_hand_overs_there_and_back() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "out-only")]).await.remove(0);
        let (web, db) = (host.boot_configured(&plan, 0).await, host.boot_configured(&plan, 1).await);
        let listener = web.space.enter(|| std::net::TcpListener::bind("0.0.0.0:90").unwrap());
        let mut client = db.space.enter(|| std::net::TcpStream::connect("192.168.23.1:90").unwrap());
        let (mut server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut say = |word: &[u8; 4]| {
            client.write_all(word).unwrap();
            let mut heard = [0; 4];
            server.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, word);
        };
        say(b"one.");
        // Both machines at once, over and over; the names change places.
        for round in 0..4 {
            let (for_web, web_name) = host.successor(&plan, 0).await;
            let (for_db, db_name) = host.successor(&plan, 1).await;
            let moves = [to(&plan, 0, &web_name), to(&plan, 1, &db_name)];
            let mut ready = host.network.prepare_hand_over(&plan, &moves).await.unwrap();
            ready.go().unwrap();
            if round == 2 {
                // Rolled back: the old processes go on.
                ready.back().unwrap();
                say(b"back");
                continue;
            }
            // A broken cable for a moment, then the new processes run.
            let old = (web.plug(for_web), db.plug(for_db));
            say(b"word");
            drop(old);
            eventually("the old taps are gone", || {
                let links = host.inside(&plan, "ip -br link");
                links.matches("tap").count() == 2
            })
            .await;
            assert!(host.network.ensure(&plan).await.unwrap().is_empty());
            say(b"two.");
        }
    });
}

#[test]
fn a_hand_over_fits_into_a_pause() {
    on_a_host(|host| async move {
        for machines in [2, 20] {
            let record = common::crowd(machines);
            let plan = host.up(&[&record]).await.remove(0);
            let (mut files, mut moves) = (Vec::new(), Vec::new());
            let mut open = Vec::new();
            for (n, tap) in plan.taps.iter().enumerate() {
                files.push(host.network.open_tap(&plan, &tap.machine).await.unwrap());
                let started = Instant::now();
                let (file, name) = host.successor(&plan, n).await;
                open.push(started.elapsed());
                files.push(file);
                moves.push(to(&plan, n, &name));
            }
            let started = Instant::now();
            let mut ready = host.network.prepare_hand_over(&plan, &moves).await.unwrap();
            let prepare = started.elapsed();
            let mut times = Vec::new();
            for _ in 0..100 {
                let started = Instant::now();
                ready.go().unwrap();
                times.push(started.elapsed());
                let started = Instant::now();
                ready.back().unwrap();
                times.push(started.elapsed());
            }
            let started = Instant::now();
            host.network.hand_over(&plan, &moves).await.unwrap();
            let whole = started.elapsed();
            times.sort();
            open.sort();
            let median = times[times.len() / 2];
            println!(
                "{machines} machines: go median {median:?}, worst {:?}; prepare {prepare:?}; both as one {whole:?}; \
                 a successor's tap {:?}",
                times[times.len() - 1],
                open[open.len() / 2]
            );
            assert!(median < Duration::from_millis(2) * (1 + machines / 10), "{median:?}");
            drop(files);
            host.network.remove(plan.environment).await.unwrap();
        }
    });
}

#[test]
fn a_successors_qemu_leaves_its_tap_parked() {
    on_a_host(|host| async move {
        let plan = host.up(&[&store(1, "open")]).await.remove(0);
        let sender = host.network.open_tap(&plan, &plan.taps[0].machine).await.unwrap();
        let old = host.network.open_tap(&plan, &plan.taps[1].machine).await.unwrap();
        let (new, name) = host.successor(&plan, 1).await;
        use std::os::fd::AsRawFd;
        nix::fcntl::fcntl(&new, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        // It sets the header's size and offloads, and waits for a state to load; its machine doesn't run.
        let said = common::run(&format!(
            "echo 'info network\nquit' | timeout 30 qemu-system-x86_64 -machine q35,accel=tcg -m 64 -nodefaults \
             -display none -incoming defer -monitor stdio -netdev tap,id=n,fd={},vhost=off \
             -device virtio-net-pci,netdev=n 2>&1",
            new.as_raw_fd()
        ));
        assert!(said.contains("n: index=0,type=tap"), "{said}");
        let shown = host.inside(&plan, &format!("ip -d link show {name}"));
        assert!(
            shown.contains("flood off") && shown.contains("learning off") && shown.contains("locked on"),
            "{shown}"
        );
        write(&sender, &numbered(&plan, [0xff; 6], 1));
        assert_eq!((waiting(&old).len(), waiting(&new).len()), (1, 0));
        host.network.hand_over(&plan, &[to(&plan, 1, &name)]).await.unwrap();
        write(&sender, &numbered(&plan, [0xff; 6], 2));
        assert_eq!((waiting(&old).len(), waiting(&new).len()), (0, 1));
    });
}

/// It is prepared on one thread, and done on another.
#[test]
fn a_hand_over_may_be_sent_to_another_thread() {
    fn is_send<T: Send + 'static>() {}
    is_send::<wardian_network::HandOver>();
}
