//! DHCP and DNS as real clients see them: dhclient, udhcpc, kdig, dig.
#![allow(missing_docs)]

mod common;

use common::{Guest, Host, on_a_host, script, store};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use wardian_network::Services;
use wardian_plan::network::{LabConfig, NetworkPlan, environment};

async fn serving(host: &Host, fence: &str) -> (NetworkPlan, Services) {
    let plan = host.up(&[&store(1, fence)]).await.remove(0);
    let services = host.network.serve(&plan).await.unwrap();
    (plan, services)
}

/// Runs a command in a guest while this thread's runtime goes on serving.
async fn inside(guest: &Guest, command: &str) -> Option<String> {
    let command = format!("nsenter --net={} {command}", guest.space.path().display());
    // The thread keeps no namespace of this one's; nsenter brings its own.
    tokio::task::spawn_blocking(move || common::attempt(&command).ok()).await.unwrap()
}

async fn dig(guest: &Guest, arguments: &str) -> String {
    inside(guest, &format!("kdig @192.168.23.254 +noall +answer +header +time=3 +retry=0 {arguments}"))
        .await
        .unwrap_or_default()
}

/// A script for either client: it says what it was told, and sets address and route.
fn client_script(host: &Host) -> PathBuf {
    let path = host.folder.path().join("client-script");
    script(
        &path,
        "#!/bin/sh\n\
         env | sort\n\
         case \"$1$reason\" in bound|BOUND)\n\
         ip address replace ${ip:-$new_ip_address}/24 dev eth0\n\
         ip route replace default via ${router:-$new_routers}\n\
         esac\n\
         exit 0\n",
    );
    path
}

#[test]
fn udhcpc_gets_everything() {
    on_a_host(|host| async move {
        let (plan, _services) = serving(&host, "out-only").await;
        let guest = host.boot(&plan, 0).await;
        let script = client_script(&host);
        for broadcast in ["", "-B"] {
            let said = inside(
                &guest,
                &format!(
                    "busybox udhcpc -i eth0 -q -n -f -t 4 -T 1 {broadcast} -O search -O mtu -s {} 2>&1",
                    script.display()
                ),
            )
            .await
            .expect("udhcpc gets a lease");
            for line in [
                "ip=192.168.23.1",
                "subnet=255.255.255.0",
                "router=192.168.23.254",
                "dns=192.168.23.254",
                "hostname=web-server",
                "domain=lab.contoso.com",
                "search=lab.contoso.com",
                "mtu=1500",
                "serverid=192.168.23.254",
                "lease=86400",
                "broadcast=192.168.23.255",
            ] {
                assert!(said.lines().any(|l| l == line), "{line} not in\n{said}");
            }
        }
        assert!(inside(&guest, "ping -c1 -W1 10.86.255.254").await.is_some());
    });
}

#[test]
fn dhclient_gets_renews_and_releases() {
    on_a_host(|host| async move {
        let (plan, _services) = serving(&host, "sealed").await;
        let guest = host.boot(&plan, 1).await;
        let (script, folder) = (client_script(&host), host.folder.path().display());
        let dhclient =
            format!("dhclient -4 -v -cf /dev/null -sf {} -lf {folder}/leases -pf {folder}/pid", script.display());
        let said = inside(&guest, &format!("timeout 10 {dhclient} -1 eth0 2>&1")).await.expect("dhclient gets a lease");
        assert!(said.contains("new_ip_address=192.168.23.2") && said.contains("new_host_name=db-server"), "{said}");
        let pid = std::fs::read_to_string(host.folder.path().join("pid")).unwrap();
        // Started again with the lease it remembers: one request, one answer.
        inside(&guest, &format!("kill {}", pid.trim())).await;
        let said = inside(&guest, &format!("timeout 10 {dhclient} -1 eth0 2>&1")).await.expect("dhclient reboots");
        assert!(said.contains("DHCPACK of 192.168.23.2") && !said.contains("DHCPDISCOVER"), "{said}");
        let said = inside(&guest, &format!("timeout 10 {dhclient} -r eth0 2>&1")).await.unwrap();
        assert!(said.contains("DHCPRELEASE of 192.168.23.2"), "{said}");
    });
}

#[test]
fn a_lease_of_another_network_is_refused_at_once() {
    on_a_host(|host| async move {
        let (plan, _services) = serving(&host, "out-only").await;
        let guest = host.boot(&plan, 0).await;
        let script = client_script(&host);
        let said = inside(
            &guest,
            &format!("busybox udhcpc -i eth0 -q -n -f -t 4 -T 1 -r 10.9.9.9 -s {} 2>&1", script.display()),
        )
        .await;
        assert!(said.expect("a lease all the same").contains("ip=192.168.23.1"));
    });
}

#[test]
fn names_are_answered_inside() {
    on_a_host(|host| async move {
        let (plan, services) = serving(&host, "sealed").await;
        let guest = host.boot_configured(&plan, 0).await;
        for transport in ["+notcp", "+tcp", "+bufsize=4096", "+noedns"] {
            assert!(
                dig(&guest, &format!("{transport} db-server.lab.contoso.com A")).await.contains("192.168.23.2"),
                "{transport}"
            );
        }
        assert!(dig(&guest, "db A").await.contains("192.168.23.2"));
        assert!(dig(&guest, "-x 192.168.23.1").await.contains("web-server.lab.contoso.com."));
        let none = dig(&guest, "db.lab.contoso.com AAAA").await;
        assert!(none.contains("NOERROR") && none.contains("ANSWER: 0"), "{none}");
        assert!(dig(&guest, "nobody.lab.contoso.com").await.contains("NXDOMAIN"));
        assert!(dig(&guest, "example.com").await.contains("REFUSED"));
        assert!(
            inside(&guest, "dig @192.168.23.254 +short web-server.lab.contoso.com")
                .await
                .unwrap()
                .contains("192.168.23.1")
        );

        // A changed plan is answered from at once; after the end nobody answers, and starting again works.
        let mut changed = plan.clone();
        changed.dns.hosts[1].1 = "192.168.23.77".parse().unwrap();
        services.update(&changed);
        assert!(dig(&guest, "db-server.lab.contoso.com").await.contains("192.168.23.77"));
        let second = host.network.serve(&plan).await;
        drop(second);
        services.stop().await;
        assert!(!dig(&guest, "db-server.lab.contoso.com").await.contains("NOERROR"));
        let _again = host.network.serve(&plan).await.unwrap();
        assert!(dig(&guest, "db-server.lab.contoso.com").await.contains("192.168.23.2"));
        // Neither the edge nor another machine's forged source gets an answer.
        assert!(common::attempt("kdig @10.86.0.2 +time=1 +retry=0 web").is_err());
    });
}

/// A name server of the host at 127.0.0.1: answers every question with one address, and by TCP with 60 of them.
async fn host_name_server() -> tokio::task::JoinHandle<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let udp = tokio::net::UdpSocket::bind("127.0.0.1:53").await.unwrap();
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:53").await.unwrap();
    let answer = |question: &[u8], count: u8| {
        let end = 12 + question[12..].iter().position(|b| *b == 0).unwrap() + 5;
        let truncated = question[12..].starts_with(b"\x03big") && count == 1;
        let count = if truncated { 0 } else { count };
        let mut bytes = question[..end].to_vec();
        bytes[2] = 0x81 | if truncated { 2 } else { 0 };
        bytes[3] = 0x80;
        bytes[7] = count;
        bytes[8..12].fill(0);
        for n in 0..count {
            bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, n + 1]);
        }
        bytes
    };
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            tokio::select! {
                got = udp.recv_from(&mut buffer) => {
                    let (length, from) = got.unwrap();
                    udp.send_to(&answer(&buffer[..length], 1), from).await.unwrap();
                }
                got = tcp.accept() => {
                    let (mut stream, _) = got.unwrap();
                    let length = usize::from(stream.read_u16().await.unwrap());
                    stream.read_exact(&mut buffer[..length]).await.unwrap();
                    let answer = answer(&buffer[..length], 60);
                    stream.write_u16(answer.len() as u16).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        }
    })
}

#[test]
fn other_names_are_asked_of_the_host() {
    on_a_host(|host| async move {
        let (plan, services) = serving(&host, "out-only").await;
        let guest = host.boot_configured(&plan, 0).await;
        // Nobody answers there yet: a clear failure, soon.
        std::fs::write(&host.network.config().resolv_conf, "nameserver 203.0.113.2\n").unwrap();
        let started = Instant::now();
        assert!(dig(&guest, "example.com").await.contains("SERVFAIL"));
        assert!(started.elapsed() < Duration::from_secs(3));
        // The file is read again, and the first silent server is passed over.
        std::fs::write(&host.network.config().resolv_conf, "nameserver 203.0.113.2\nnameserver 127.0.0.1\n").unwrap();
        let name_server = host_name_server().await;
        assert!(dig(&guest, "example.com").await.contains("198.51.100.1"));
        let big = dig(&guest, "big.example.com").await;
        assert!(big.contains("198.51.100.60"), "asked again by TCP: {big}");
        // Sealed: not any more.
        services.update(&environment(&store(1, "sealed"), &LabConfig::default()));
        assert!(dig(&guest, "example.com").await.contains("REFUSED"));
        name_server.abort();
    });
}
