//! The tour in README.md does what it says: its commands are run word for word, on a test host. And docs/session.md,
//! which shows what commands print, was printed by them.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use wardian_testkit::TestHost;

const WARDIAN: &str = env!("CARGO_BIN_EXE_wardian");
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// `bash` on the host, as `cargo xtask shell` gives it.
fn shell(host: &TestHost) -> Command {
    let folder = Path::new(WARDIAN).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let socket = host.run_directory().join("wardian.sock");
    let mut command = host.inside("bash");
    command.current_dir(REPOSITORY).env("PATH", path).env("WARDIAN_HOST", format!("unix://{}", socket.display()));
    command
}

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

    let mut shell = shell(&host)
        .args(["-eux", "-o", "pipefail"])
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
    assert_eq!(said.matches("I am web-server.").count(), 5, "{said}");
    let after_the_write = said.split("a moss").last().unwrap();
    assert!(after_the_write.contains("a fern"), "the original lost its item: {said}");
    host.inventory().adds_nothing_to(&before);
}

const SESSION: &str = "docs/session.md";
const PROMPT: &str = "$ ";

/// A command and what it prints.
type Printed = Vec<(String, String)>;

/// Runs the commands of a document's `console` blocks.
fn recorded(host: &TestHost, document: &str) -> Printed {
    let mut run = Printed::new();
    filled(document, |command| {
        let text = printed(host, command);
        run.push((command.to_owned(), text.clone()));
        text
    });
    run
}

/// A document with `output` below each command of its `console` blocks, in place of what stands there.
fn filled(document: &str, mut output: impl FnMut(&str) -> String) -> String {
    let mut text = String::new();
    let mut in_a_block = false;
    for line in document.lines() {
        let command = line.strip_prefix(PROMPT).filter(|_| in_a_block);
        if line.starts_with("```") {
            in_a_block = line == "```console";
        } else if in_a_block && command.is_none() {
            continue;
        }
        text += &format!("{line}\n");
        text += &command.map(&mut output).unwrap_or_default();
    }
    text
}

/// What a command prints to both streams, without its steps: of several machines they come in any order.
#[track_caller]
fn printed(host: &TestHost, command: &str) -> String {
    let words = ["-e", "-c", &format!("exec 2>&1; {command}")];
    let output = shell(host).args(words).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command}: {text}");
    let lines = text.lines().filter(|line| !is_a_step(line));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `web: start  begins  disk`
fn is_a_step(line: &str) -> bool {
    matches!(line.split("  ").nth(1), Some("begins" | "waits" | "done"))
}

/// A document without what differs from run to run: lengths of time, ids, amounts, counters; the widths of columns,
/// which follow from those; and what guests do in their own time: send what the fence drops, and start their agents.
fn masked(document: &str) -> String {
    let lines = document.lines().filter(|line| !line.starts_with("fence: dropped "));
    lines.map(|line| masked_line(line) + "\n").collect()
}

fn masked_line(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| word.parse::<f64>().is_ok();
    let mut masked = Vec::new();
    for (at, &word) in words.iter().enumerate() {
        let next = words.get(at + 1).map_or("", |next| next.trim_end_matches(','));
        let before = if at == 0 { "" } else { words[at - 1] };
        masked.push(match word {
            _ if number(word) && matches!(next, "s" | "ms" | "KiB" | "MiB") => "#",
            _ if number(word) && next.is_empty() && (at == 0 || before.ends_with(':')) => "#",
            _ if is_a_length_of_time(word) && masked.last() == Some(&"#s") => continue,
            _ if is_a_length_of_time(word) => "#s",
            _ if word.starts_with("m-") && word.ends_with(".wardian.internal") => "m-#.wardian.internal",
            // The agent's column, with its version; `-` until it has answered.
            "answers" => "-",
            _ if before == "answers" => continue,
            _ => word,
        });
    }
    masked.join(" ")
}

/// `0.3s`, `18s`, or a part of `1m 12s`.
fn is_a_length_of_time(word: &str) -> bool {
    let number = word.strip_suffix(['s', 'm', 'h']).and_then(|number| number.parse::<f64>().ok());
    number.is_some()
}

/// The numbers that the first command with these words in it printed: one per line, after a name or alone.
#[track_caller]
fn counters(run: &Printed, what: &str) -> Vec<u64> {
    let (_, text) = run.iter().find(|(command, _)| command.contains(what)).expect(what);
    text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{text}"))).collect()
}

#[test]
fn story_the_recorded_session_is_what_the_commands_print() {
    let host = TestHost::with_micro(WARDIAN);
    let before = host.inventory();
    let [session, readme] = [SESSION, "README.md"].map(|name| Path::new(REPOSITORY).join(name));
    let kept = [&session, &readme].map(|path| std::fs::read_to_string(path).unwrap());
    let run = recorded(&host, &kept[0]);
    host.inventory().adds_nothing_to(&before);

    // The masks take the counters away, so what the session tells of them is looked at here.
    let first = counters(&run, "echo 1000000 >")[0];
    let both = counters(&run, "for copy");
    assert!(first >= 1_000_000 && both.len() == 2, "{run:?}");
    assert!(both.iter().all(|counter| (first..first + 10_000).contains(counter)), "{run:?}");
    let [original, clone] = ["exec store/db -- cat", "exec store-2/db -- sh"].map(|what| counters(&run, what)[0]);
    assert!(original < 1_100_000 && clone >= 2_000_000, "{run:?}");

    let mut rest = run.iter();
    let now = [
        filled(&kept[0], |_| rest.next().unwrap().1.clone()),
        // An extract, of commands that stand in the session too.
        filled(&kept[1], |command| run.iter().find(|(one, _)| one == command).expect(command).1.clone()),
    ];
    if std::env::var_os("WARDIAN_UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&session, &now[0]).unwrap();
        std::fs::write(&readme, &now[1]).unwrap();
        return;
    }
    for (kept, now) in kept.iter().zip(&now) {
        let (kept, now) = (masked(kept), masked(now));
        let other = kept.lines().zip(now.lines()).find(|(kept, now)| kept != now);
        let hint = "WARDIAN_UPDATE=1 cargo nextest run -p wardian --test story_readme records it anew";
        assert!(kept == now, "{SESSION} or README.md is out of date; {hint}; the first difference: {other:?}\n{now}");
    }
}
