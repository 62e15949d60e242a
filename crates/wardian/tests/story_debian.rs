//! A full distribution: Debian 12 configures itself by cloud-init from its seed, and a clone of it is the same
//! computer.

use std::path::PathBuf;

use wardian_testkit::{TestHost, image};

/// First-boot configuration that leaves a trace for every time it runs.
fn file(key: &str) -> String {
    format!(
        "name: full
machines:
  server:
    image: debian-12
    hostname: debian-server
    memory: 512 MiB
    cpus: 2
    ready: {{ exec: [ test, -f, /run/cloud-init/result.json ], timeout: 10m }}
    cloud-init:
      ssh-keys: [ \"{key}\" ]
      user-data: |
        #cloud-config
        write_files:
          - {{ path: /etc/motd, content: sealed }}
        runcmd:
          - [ sh, -c, 'echo once >> /var/lib/first-boots' ]
isolation:
  fence: open
"
    )
}

#[test]
fn story_debian_configures_itself_once_and_its_clone_is_the_same_computer() {
    let host = TestHost::new(env!("CARGO_BIN_EXE_wardian"));
    let description = image::folder("debian-12").join("image.json");
    host.wardian(&["image", "import", "debian-12", &description.to_string_lossy()]).ok();

    let key: PathBuf = host.folder().join("key");
    host.command("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key.to_string_lossy()]).ok();
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let path = host.folder().join("full.yaml");
    std::fs::write(&path, file(public.trim())).unwrap();

    host.wardian(&["up", &path.to_string_lossy()]).ok();
    let login = |address: &str, command: &str| {
        let target = format!("debian@{address}");
        let known = format!("UserKnownHostsFile={}", host.folder().join("known").display());
        let identity = key.to_string_lossy();
        let options = ["-o", &known, "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", "-i", &identity];
        let words: Vec<&str> = options.into_iter().chain([target.as_str(), command]).collect();
        host.command("ssh", &words).ok()
    };
    let whoami = "hostname; cat /etc/machine-id /etc/motd /var/lib/first-boots; cat /etc/ssh/ssh_host_ed25519_key.pub";
    let original = login("10.86.0.1", whoami);
    assert!(original.starts_with("debian-server\n"), "{original}");
    assert!(original.contains("sealed"), "{original}");
    assert_eq!(original.matches("once").count(), 1, "{original}");

    host.wardian(&["clone", "full", "full-2"]).ok();
    let clone = login("10.86.0.2", whoami);
    assert_eq!(original, clone, "the inside has changed");
    assert_eq!(login("10.86.0.1", whoami), original, "the original has changed");
}
