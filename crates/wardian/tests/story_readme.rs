//! The tour in README.md does what it says: its commands are run word for word, on a test host.

use std::{io::Write, path::Path, process::Stdio};

use wardian_testkit::TestHost;

const WARDIAN: &str = env!("CARGO_BIN_EXE_wardian");
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The lines of the shell blocks that follow a `<!-- tour -->`.
fn tour(readme: &str) -> String {
    let blocks = readme.split("<!-- tour -->\n```sh\n").skip(1);
    blocks.filter_map(|block| block.split("```").next()).collect()
}

#[test]
fn story_the_tour_of_the_readme_works_word_for_word() {
    let host = TestHost::with_micro(WARDIAN);
    let before = host.inventory();
    let readme = std::fs::read_to_string(Path::new(REPOSITORY).join("README.md")).unwrap();
    let script = tour(&readme);
    assert!(script.lines().count() > 10, "where has the tour gone?");

    let folder = Path::new(WARDIAN).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let socket = host.run_directory().join("wardian.sock");
    let mut shell = host
        .inside("bash")
        .args(["-eux", "-o", "pipefail"])
        .current_dir(REPOSITORY)
        .env("PATH", path)
        .env("WARDIAN_HOST", format!("unix://{}", socket.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{told}");

    // What a reader would look at.
    assert_eq!(said.matches("I am web-server.").count(), 4, "{said}");
    let after_the_write = said.split("a moss").last().unwrap();
    assert!(after_the_write.contains("a fern"), "the original lost its item: {said}");
    host.inventory().adds_nothing_to(&before);
}
