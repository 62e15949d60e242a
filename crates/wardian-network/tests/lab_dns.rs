//! The lab network's DNS server, on the real kernel, asked by kdig and dig from wherever one may ask.
#![allow(missing_docs)]

mod common;

use std::{collections::BTreeSet, time::Instant};

use common::{on_a_host, run, store};
use wardian_model::{environment::EnvironmentRecord, name::Domain};
use wardian_network::services::{LabDns, LabDnsConfig, LabDnsError};
use wardian_plan::{
    alias::{AliasConfig, AliasRecord, aliases_of, records},
    allocate::last_address,
    network::LabConfig,
};

fn config() -> AliasConfig {
    AliasConfig::new(Domain::new("lab.example").unwrap()).unwrap()
}

fn all(environments: &[EnvironmentRecord]) -> BTreeSet<AliasRecord> {
    records(environments, &config())
}

fn start(environments: &[EnvironmentRecord]) -> Result<LabDns, LabDnsError> {
    let prefix = LabConfig::default().prefix;
    let config = LabDnsConfig { address: last_address(prefix), zone: config().zone().clone(), prefix };
    LabDns::start(config, &all(environments))
}

/// What kdig says, in the background: the server runs on the thread that waits.
async fn ask(arguments: &str) -> String {
    ask_from("", arguments).await
}

async fn ask_from(prefix: &str, arguments: &str) -> String {
    let command = format!("{prefix} timeout 8 kdig @10.86.255.254 +timeout=2 +retry=1 {arguments}");
    inside(move || run(&command)).await.trim().to_owned()
}

/// Runs on a thread that is in the namespace of this one, without holding up the runtime.
async fn inside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (answer, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || drop(answer.send(work())));
    wait.await.unwrap()
}

#[test]
fn aliases_are_answered_on_the_lab_network_and_change_at_once() {
    on_a_host(|host| async move {
        let mut environments: Vec<_> = (1..=3).map(|n| store(n, "out-only")).collect();
        // Before the bridge is there.
        let mut server = start(&environments[..2]).unwrap();
        let plans = host.up(&environments.iter().collect::<Vec<_>>()).await;

        for (udp, environment) in [("+notcp", 1), ("+tcp", 2)] {
            let aliases = aliases_of(&environments[environment - 1], &config());
            for machine in &aliases {
                let address = machine.address.to_string();
                for name in [&machine.stable, &machine.opaque] {
                    assert_eq!(ask(&format!("{udp} +short {name} A")).await, address);
                }
                assert_eq!(ask(&format!("{udp} +short -x {address}")).await, format!("{}.", machine.stable));
            }
        }

        let name = "app.store-3.lab.example";
        assert!(ask(&format!("{name} A")).await.contains("status: NXDOMAIN"));
        let began = Instant::now();
        server.update(&all(&environments));
        assert_eq!(ask(&format!("+short {name} A")).await, "10.86.0.6");
        assert!(began.elapsed().as_millis() < 1000);
        environments[0].desired = wardian_model::environment::Desired::Removed;
        server.update(&all(&environments));
        assert!(ask("app.store-1.lab.example A").await.contains("status: NXDOMAIN"));

        // From a machine of another environment.
        let guest = host.boot_configured(&plans[1], 0).await;
        let inside = format!("nsenter --net={}", guest.space.path().display());
        assert_eq!(ask_from(&inside, &format!("+short {name} A")).await, "10.86.0.6");

        let nodata = ask(&format!("{name} AAAA")).await;
        assert!(
            nodata.contains("status: NOERROR") && nodata.contains("SOA") && nodata.contains("ANSWER: 0"),
            "{nodata}"
        );
        assert!(ask("example.com A").await.contains("status: REFUSED"));
        assert!(ask("+edns +bufsize=4096 lab.example SOA").await.contains("EDNS PSEUDOSECTION"));
        assert!(ask("+tcp lab.example AXFR 2>&1 || true").await.contains("REFUSED"));

        assert!(server.is_running());
        server.stop().await;
        // The port is free again, and one server has it.
        let again = start(&environments).unwrap();
        let second = start(&environments).unwrap_err();
        assert!(second.to_string().contains("port 53 of 10.86.255.254"), "{second}");
        assert_eq!(ask(&format!("+short {name} A")).await, "10.86.0.6");
        drop(again);
    });
}

#[test]
fn silent_connections_of_one_client_do_not_keep_others_out() {
    on_a_host(|host| async move {
        let environments = [store(1, "open")];
        let server = start(&environments).unwrap();
        let plans = host.up(&[&environments[0]]).await;
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(tokio::net::TcpStream::connect("10.86.255.254:53").await.unwrap());
        }
        let guest = host.boot_configured(&plans[0], 0).await;
        let inside = format!("nsenter --net={}", guest.space.path().display());
        assert_eq!(ask_from(&inside, "+tcp +short app.store-1.lab.example A").await, "10.86.0.2");
        assert_eq!(ask("+short app.store-1.lab.example A").await, "10.86.0.2");
        drop((silent, server));
    });
}

#[test]
fn a_flood_of_datagrams_is_answered_by_a_request_to_use_tcp() {
    on_a_host(|host| async move {
        let environments = [store(1, "open")];
        let _server = start(&environments).unwrap();
        host.lab(&[]).await;
        let client = tokio::net::UdpSocket::bind("0.0.0.0:0").await.unwrap();
        client.connect("10.86.255.254:53").await.unwrap();
        let question = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03app\x07store-1\x03lab\x07example\0\0\x01\0\x01";
        let mut answer = [0; 600];
        let (mut whole, mut cut) = (0, 0);
        for _ in 0..1500 {
            client.send(question).await.unwrap();
            let length = client.recv(&mut answer).await.unwrap();
            if answer[2] & 2 == 0 {
                whole += 1;
            } else {
                cut += 1;
                assert!(length <= question.len());
            }
        }
        // Within one second it is a thousand; a slow computer takes longer than that.
        assert!(whole >= 1000, "{whole} answers, {cut} requests to use TCP");
    });
}
