//! A classroom: thirty environments with one inside on one host, each answering as itself.

use wardian_testkit::TestHost;

const HOW_MANY: usize = 30;

/// Equal in everything but its own name.
fn file(name: &str) -> String {
    format!(
        "
name: {name}
machines:
  web:
    image: micro
    memory: 80 MiB
    ready: {{ http: {{ port: 80, path: /name }}, timeout: 10m }}
    cloud-init:
      user-data: |
        #!/bin/sh
        mkdir -p /etc/wardian /srv/www
        echo {name} > /srv/www/name
        printf '#!/bin/sh\\nhttpd -h /srv/www\\n' > /etc/wardian/start
        chmod +x /etc/wardian/start
isolation: {{ fence: open, expose: [ web:80 ] }}
"
    )
}

#[test]
fn story_thirty_environments_with_one_inside_answer_as_themselves() {
    let host = TestHost::with_micro(env!("CARGO_BIN_EXE_wardian"));
    let before = host.inventory();
    let names: Vec<_> = (1..=HOW_MANY).map(|number| format!("room-{number}")).collect();

    // All at once: each `up` waits until its own is ready.
    let ups = names.iter().map(|name| {
        let path = host.write(&format!("{name}.yaml"), &file(name));
        host.wardian_command(&["up", "--quiet", &path.to_string_lossy()]).spawn().unwrap()
    });
    for (mut up, name) in ups.collect::<Vec<_>>().into_iter().zip(&names) {
        assert!(up.wait().unwrap().success(), "{name} did not come up");
    }

    let mut seen = Vec::new();
    for name in &names {
        let list = host.wardian(&["addresses", name, "--json"]).json();
        let web = &list["addresses"][0];
        assert_eq!(web["inside"]["address"], "192.168.23.1", "{name}");
        assert_eq!(web["inside"]["mac"], "02:57:00:00:00:01", "{name}");

        let address = web["outside"]["address"].as_str().unwrap();
        assert_eq!(host.curl(&format!("http://{address}/name")).ok().trim(), name, "at {address}");
        let at = web["exposed"][0]["at"].as_u64().unwrap();
        assert_eq!(host.curl(&format!("http://127.0.0.1:{at}/name")).ok().trim(), name, "at port {at}");
        seen.push((address.to_owned(), at));
    }
    seen.sort();
    seen.dedup_by(|one, other| one.0 == other.0 || one.1 == other.1);
    assert_eq!(seen.len(), HOW_MANY, "two share an address or a port");

    // They reach each other, by their outsides only: the first asks the second for its name.
    let second = host.outside_address("room-2/web");
    assert_eq!(host.script("room-1/web", &format!("wget -q -O - http://{second}/name")), "room-2");
    assert_eq!(host.script("room-1/web", "wget -q -O - http://192.168.23.1/name"), "room-1");

    let all: Vec<_> = ["rm"].into_iter().chain(names.iter().map(String::as_str)).collect();
    host.wardian(&all).ok();
    host.inventory().adds_nothing_to(&before);
}
