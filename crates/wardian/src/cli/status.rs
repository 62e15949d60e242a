//! `wardian status`: what is wrong and what to do about it; of one environment, how each machine stands.

use std::{collections::BTreeMap, fmt::Write as _};

use comfy_table::Cell;
use jiff::Timestamp;
use wardian_api::wire::{
    AclDenied, Agent, Ancestor, EnvironmentDetail, EnvironmentList, EnvironmentPhase, EnvironmentSummary, HostReport,
    InsideSubnet, MachineDetail, MachinePhase, Operation, OperationState, Problem, SecondInterface, SnapshotList,
    StepState, Verdict,
};

use wardian_client::Client;

use super::{
    Session,
    addresses::{exposed, outside},
    args,
    expire::when,
    failure::Failure,
    ls::since,
    output::Style,
    snapshot,
    table::{age, columns, duration},
};

/// How much of a console is asked for, in bytes.
const CONSOLE: usize = 4 << 10;

/// How many lines of it are shown.
const CONSOLE_LINES: usize = 12;

pub(crate) async fn run(session: &Session, arguments: args::Status) -> Result<(), Failure> {
    let style = session.output.data_style;
    let client = session.client().await?;
    match arguments.environment {
        Some(environment) => {
            let mut detail = client.environment(environment.as_str()).await?;
            if session.output.json {
                return session.output.json(&detail);
            }
            add_consoles(&client, &mut detail).await;
            session.output.data(environment_text(&detail, Timestamp::now(), style))
        }
        None => {
            let (host, environments) = tokio::try_join!(client.host_report(), client.environments())?;
            let list = EnvironmentList { environments };
            if session.output.json {
                return session.output.json(&Overview {
                    ok: well(&host, &list),
                    host,
                    environments: list.environments,
                });
            }
            session.output.data(overview_text(&host, &list, style))
        }
    }
}

/// Gives failed machines the end of their console, where the daemon didn't. One that can't be had is not missed.
async fn add_consoles(client: &Client, detail: &mut EnvironmentDetail) {
    for machine in detail.machines.iter_mut().filter(|machine| machine.phase == MachinePhase::Failed) {
        let Some(problem) = machine.problem.as_mut().filter(|problem| problem.details.is_empty()) else { continue };
        if let Ok(tail) = client.console_tail(&detail.summary.name, &machine.name, CONSOLE).await {
            let bytes = tail.console.into_bytes().unwrap_or_default();
            problem.details = last_lines(&String::from_utf8_lossy(&bytes), CONSOLE_LINES);
        }
    }
}

/// The last lines of a console, without what could move a terminal's cursor.
fn last_lines(text: &str, most: usize) -> Vec<String> {
    let clean = |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>();
    let lines: Vec<String> = text.lines().map(clean).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(most)..].to_vec()
}

/// `status --json` without an environment.
#[derive(serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct Overview {
    /// Whether nothing needs attention.
    ok: bool,
    /// The host.
    host: HostReport,
    /// All environments.
    environments: Vec<EnvironmentSummary>,
}

/// Whether an environment needs someone to look at it. What is still on its way doesn't.
fn wants_attention(environment: &EnvironmentSummary) -> bool {
    environment.problem.is_some() || matches!(environment.phase, EnvironmentPhase::Failed | EnvironmentPhase::Degraded)
}

fn well(host: &HostReport, list: &EnvironmentList) -> bool {
    host.checks.iter().all(|check| check.verdict != Verdict::Failed) && !list.environments.iter().any(wants_attention)
}

fn overview_text(host: &HostReport, list: &EnvironmentList, style: Style) -> String {
    let mut text = String::new();
    for check in host.checks.iter().filter(|check| check.verdict != Verdict::Ok) {
        let verdict = if check.verdict == Verdict::Failed { style.bad("failed") } else { style.mark("warning") };
        let _ = writeln!(text, "host: {}: {verdict}: {}", check.name, check.message);
        advise(&mut text, check.hint.as_deref(), style);
    }
    for environment in list.environments.iter().filter(|environment| wants_attention(environment)) {
        let _ = write!(text, "{}: {}", environment.name, style.word(environment.phase.word()));
        match &environment.problem {
            Some(problem) => {
                let _ = writeln!(text, ": {}", problem.message);
                advise(&mut text, problem.hint.as_deref(), style);
            }
            None => {
                let (ready, total) = (environment.machines_ready, environment.machines_total);
                let _ = writeln!(text, ": {ready} of {total} machines ready");
                advise(&mut text, Some(&format!("`wardian status {}` shows each machine", environment.name)), style);
            }
        }
    }
    if text.is_empty() {
        let count = list.environments.len();
        let plural = if count == 1 { "environment" } else { "environments" };
        text = format!("{}: {count} {plural}, none needs attention\n", style.good("all well"));
    }
    text
}

fn advise(text: &mut String, hint: Option<&str>, style: Style) {
    if let Some(hint) = hint {
        let _ = writeln!(text, "  {} {hint}", style.mark("hint:"));
    }
}

/// `192.168.23.0/24 in lab.internal, gateway 192.168.23.254`; of several subnets, each with its name.
fn inside(detail: &EnvironmentDetail) -> String {
    if detail.subnets.is_empty() {
        return format!("{} in {}, gateway {}", detail.subnet, detail.domain, detail.gateway);
    }
    let each = |subnet: &InsideSubnet| format!("{} {}, gateway {}", subnet.name, subnet.subnet, subnet.gateway);
    let all: Vec<_> = detail.subnets.iter().map(each).collect();
    format!("{} in {}", all.join("; "), detail.domain)
}

fn environment_text(detail: &EnvironmentDetail, now: Timestamp, style: Style) -> String {
    let summary = &detail.summary;
    let mut text = format!("{}: {}", summary.name, style.word(summary.phase.word()));
    let _ = write!(text, ", {} of {} machines ready", summary.machines_ready, summary.machines_total);
    if detail.mode == "none" {
        text += ", not isolated";
    } else {
        let _ = write!(text, ", fence {}", summary.fence.word());
    }
    if detail.outside_by != "per-machine" {
        let _ = write!(text, ", way out by {}", detail.outside_by);
    }
    if let Some(seconds) = since(&summary.created, now) {
        let _ = write!(text, ", {} old", age(seconds));
    }
    let _ = writeln!(text, "\ninside: {}", inside(detail));
    if !detail.joined.is_empty() {
        let _ = writeln!(text, "joined with: {}", detail.joined.join(", "));
    }
    if let Some(dropped) = dropped(&detail.fence_counters) {
        let _ = writeln!(text, "fence: {dropped}");
    }
    if let Some(denied) = denied(&detail.denied) {
        let _ = writeln!(text, "acl: {denied}");
    }
    if !detail.lineage.is_empty() {
        let _ = writeln!(text, "lineage: {}", lineage(&detail.lineage));
    }
    if let Some(owner) = &summary.owner {
        let _ = writeln!(text, "owner: {owner}");
    }
    if let Some(at) = &summary.expires {
        let _ = writeln!(text, "expires: {}", when(at, now));
    }
    let across = summary.hosts.len() > 1;
    if across {
        let edge = |host: &String| if summary.host.as_ref() == Some(host) { " (edge)" } else { "" };
        let hosts: Vec<_> = summary.hosts.iter().map(|host| format!("{host}{}", edge(host))).collect();
        let _ = writeln!(text, "hosts: {}", hosts.join(", "));
    }
    text.push('\n');
    let mut headings = vec!["MACHINE"];
    headings.extend(across.then_some("HOST"));
    headings.extend(["PHASE", "READY AFTER", "AGENT", "INSIDE", "OUTSIDE", "EXPOSED", "WHY"]);
    text += &columns(headings, detail.machines.iter().map(|machine| row(machine, across, style)));
    for machine in &detail.machines {
        second_text(&mut text, machine, style);
    }
    if !detail.snapshots.is_empty() || detail.at.is_some() {
        let list = SnapshotList {
            environment: summary.name.clone(),
            snapshots: detail.snapshots.clone(),
            at: detail.at.clone(),
        };
        text.push('\n');
        text += &snapshot::render(&list, now, style);
    }
    if let Some(operation) = &detail.operation {
        operation_text(&mut text, operation);
    }
    // The environment's own problem is often one of its machines'; it is said once.
    let machines =
        detail.machines.iter().filter_map(|m| Some((format!("{}/{}", summary.name, m.name), m.problem.as_ref()?)));
    let own = summary.problem.iter().map(|problem| (summary.name.clone(), problem));
    let mut said: Vec<&Problem> = Vec::new();
    for (of, problem) in machines.chain(own) {
        if !said.contains(&problem) {
            said.push(problem);
            problem_text(&mut text, &of, problem, style);
        }
    }
    text
}

/// `dropped 12 packets inward, 3 outward, 1 forged; reset 2 unknown connections`; nothing when all is well.
fn dropped(counters: &BTreeMap<String, u64>) -> Option<String> {
    let sum = |reasons: &[&str]| reasons.iter().filter_map(|reason| counters.get(*reason)).sum::<u64>();
    let kinds: [(&[&str], &str); 9] = [
        (&["fence-in"], "inward"),
        (&["fence-out"], "outward"),
        (&["fence-inside"], "between machines by way of the gateway"),
        (&["not-public"], "leaving with a private address"),
        (&["forged-mac", "forged-arp", "forged-address"], "forged"),
        (&["rogue-dhcp"], "of a DHCP server inside"),
        (&["to-gateway"], "to the gateway"),
        (&["invalid"], "of no connection"),
        // Every guest tries IPv6 first; somebody who wonders why it doesn't work finds it here.
        (&["ipv6", "other"], "not of IPv4"),
    ];
    let mut text = String::new();
    for (reasons, what) in kinds {
        match sum(reasons) {
            0 => {}
            count if !text.is_empty() => {
                let _ = write!(text, ", {count} {what}");
            }
            count => {
                let plural = if count == 1 { "packet" } else { "packets" };
                let _ = write!(text, "dropped {count} {plural} {what}");
            }
        }
    }
    let resets = sum(&["reset-inside", "reset-outside"]);
    if resets > 0 {
        let and = if text.is_empty() { "" } else { "; " };
        let plural = if resets == 1 { "packet" } else { "packets" };
        let _ = write!(text, "{and}answered {resets} {plural} of unknown connections by a reset");
    }
    Some(text).filter(|text| !text.is_empty())
}

/// `denied 3 packets to db, 1 from web`; nothing when all is allowed.
fn denied(all: &[AclDenied]) -> Option<String> {
    let counts = all.iter().flat_map(|d| [(d.inward, "to", &d.machine), (d.outward, "from", &d.machine)]);
    let mut counts = counts.filter(|(count, ..)| *count > 0);
    let (first, way, machine) = counts.next()?;
    let plural = if first == 1 { "packet" } else { "packets" };
    let mut text = format!("denied {first} {plural} {way} {machine}");
    for (count, way, machine) in counts {
        let _ = write!(text, ", {count} {way} {machine}");
    }
    Some(text)
}

/// `clone of store@clean, clone of base (removed)`.
fn lineage(ancestors: &[Ancestor]) -> String {
    let ancestor = |ancestor: &Ancestor| {
        let snapshot = ancestor.snapshot.as_ref().map(|snapshot| format!("@{snapshot}")).unwrap_or_default();
        let removed = if ancestor.exists { "" } else { " (removed)" };
        format!("clone of {}{snapshot}{removed}", ancestor.name)
    };
    ancestors.iter().map(ancestor).collect::<Vec<_>>().join(", ")
}

/// With its host where the environment lies on several.
fn row(machine: &MachineDetail, across: bool, style: Style) -> Vec<Cell> {
    let none = || "-".to_owned();
    let agent = match &machine.agent {
        Agent::Unknown => none(),
        Agent::Answers { version } => format!("answers ({version})"),
        Agent::Silent => "silent".to_owned(),
    };
    let why = match (&machine.problem, &machine.why, machine.phase) {
        (Some(_), _, MachinePhase::Failed | MachinePhase::Paused) => "see below".to_owned(),
        (_, Some(why), _) => why.clone(),
        // Its phase tells of everything else that keeps a machine from what it shares.
        (_, None, MachinePhase::Ready | MachinePhase::Unready) => machine
            .exposed
            .iter()
            .find_map(|exposure| exposure.out.as_ref())
            .map_or_else(none, |why| format!("out: {why}")),
        _ => none(),
    };
    let mut cells: Vec<Cell> = vec![machine.name.clone().into()];
    cells.extend(across.then(|| machine.host.clone().unwrap_or_else(none).into()));
    cells.extend([
        style.phase(machine.phase.word()),
        machine.ready_after_ms.map_or_else(none, duration).into(),
        agent.into(),
        machine.inside.address.clone().into(),
        outside(machine.outside.as_ref()).into(),
        exposed(&machine.exposed).into(),
        why.into(),
    ]);
    cells
}

/// Why a machine's interface on the lab network is not what it shall be.
fn second_text(text: &mut String, machine: &MachineDetail, style: Style) {
    let (what, why) = match &machine.second {
        Some(SecondInterface::Held { why }) => ("is held down", why),
        Some(SecondInterface::New { why: why @ Some(_) }) => ("is not set up in the guest", why),
        Some(SecondInterface::New { why: None } | SecondInterface::Set) | None => return,
    };
    let why = why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let _ = writeln!(text, "\n{} {}: its interface on the lab network {what}{why}", style.mark("note:"), machine.name);
}

/// What is being done, or what last was and failed.
fn operation_text(text: &mut String, operation: &Operation) {
    if operation.state != OperationState::Running {
        return;
    }
    let done = operation.steps.iter().filter(|step| step.state == StepState::Done).count();
    let _ = writeln!(text, "\n{}: {done} of {} steps done", operation.kind.word(), operation.steps.len());
    for step in operation.steps.iter().filter(|step| step.state == StepState::Doing) {
        let note = step.note.as_ref().map(|note| format!("  {note}")).unwrap_or_default();
        let _ = writeln!(text, "  {}{note}", step.name);
    }
}

fn problem_text(text: &mut String, of: &str, problem: &Problem, style: Style) {
    let _ = writeln!(text, "\n{} {of}: {}", style.bad("problem:"), problem.message);
    for line in &problem.details {
        let _ = writeln!(text, "  {line}");
    }
    if let Some(hint) = &problem.hint {
        let _ = writeln!(text, "{} {hint}", style.mark("hint:"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::{
        NOW, clone_detail, clone_summary, detail, failed_detail, failed_summary, host_report, stretched_detail, summary,
    };

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    #[test]
    fn several_subnets_are_said_by_name() {
        let subnet = |name: &str, n: u8| InsideSubnet {
            name: name.into(),
            subnet: format!("192.168.{n}.0/24"),
            gateway: format!("192.168.{n}.254"),
        };
        let detail = EnvironmentDetail { subnets: vec![subnet("front", 23), subnet("back", 24)], ..detail() };
        assert!(environment_text(&detail, now(), Style::PLAIN).contains(
            "inside: front 192.168.23.0/24, gateway 192.168.23.254; back 192.168.24.0/24, gateway 192.168.24.254 in "
        ));
    }

    #[test]
    fn a_host_where_nothing_is_wrong_is_all_well() {
        let list = EnvironmentList { environments: vec![summary(), clone_summary()] };
        assert!(well(&HostReport::default(), &list));
        insta::assert_snapshot!(overview_text(&HostReport::default(), &list, Style::PLAIN), @"all well: 2 environments, none needs attention");
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let list = EnvironmentList { environments: vec![summary(), failed_summary()] };
        assert!(!well(&host_report(), &list));
        insta::assert_snapshot!(overview_text(&host_report(), &list, Style::PLAIN), @r"
        host: accelerator: warning: tcg: /dev/kvm is there but hangs guests
          hint: enable nested virtualization
        host: nftables: failed: nft is not installed
          hint: install the package nftables
        shop: failed: machine web did not become ready within 5m: nothing accepts connections on tcp 80
          hint: `wardian console shop/web` shows what it prints
        ");
    }

    #[test]
    fn an_environment_shows_its_machines() {
        insta::assert_snapshot!(environment_text(&detail(), now(), Style::PLAIN), @r"
        store: running, 2 of 2 machines ready, fence out-only, 5m old
        inside: 192.168.23.0/24 in lab.contoso.com, gateway 192.168.23.254
        fence: dropped 12 packets inward, 1 forged
        acl: denied 3 packets from web, 9 to db

        MACHINE  PHASE  READY AFTER  AGENT             INSIDE        OUTSIDE    EXPOSED      WHY
        web      ready  3.8s         answers (10.0.2)  192.168.23.1  10.86.0.1  80 at 20000  -
        db       ready  1m 5s        silent            192.168.23.2  10.86.0.2  -            -
        ");
    }

    #[test]
    fn an_environment_on_several_hosts_shows_which_machine_is_where() {
        insta::assert_snapshot!(environment_text(&stretched_detail(), now(), Style::PLAIN), @r"
        store: running, 2 of 2 machines ready, fence out-only, 5m old
        inside: 192.168.23.0/24 in lab.contoso.com, gateway 192.168.23.254
        hosts: a (edge), b

        MACHINE  HOST  PHASE  READY AFTER  AGENT             INSIDE        OUTSIDE    EXPOSED      WHY
        web      a     ready  3.8s         answers (10.0.2)  192.168.23.1  10.86.0.1  80 at 20000  -
        db       b     ready  1m 5s        silent            192.168.23.2  10.86.0.2  -            -
        ");
    }

    #[test]
    fn a_clone_shows_its_lineage_its_snapshots_and_how_long_it_lives() {
        insta::assert_snapshot!(environment_text(&clone_detail(), now(), Style::PLAIN), @r"
        store-2: starting, 0 of 2 machines ready, fence sealed, 8s old
        inside: 192.168.23.0/24 in lab.contoso.com, gateway 192.168.23.254
        lineage: clone of store@clean, clone of base (removed)
        owner: ana
        expires: in 2h 5m, at 2026-03-01T14:05:00Z

        MACHINE  PHASE  READY AFTER  AGENT             INSIDE        OUTSIDE    EXPOSED  WHY
        web      ready  3.8s         answers (10.0.2)  192.168.23.1  10.86.0.1  -        -

        NAME  AGE  WHAT  SIZE  PHASE  NOW
        own   5m   disk  -     ready
        store-2 is at store@clean
        ");
    }

    #[test]
    fn what_was_dropped_is_said_in_words_and_nothing_is_said_of_nothing() {
        let counters = |list: &[(&str, u64)]| list.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect();
        let said = |list| dropped(&counters(list));
        assert_eq!(said(&[("fence-in", 0), ("parked", 7)]), None);
        assert_eq!(said(&[("fence-out", 1)]).unwrap(), "dropped 1 packet outward");
        assert_eq!(
            said(&[("fence-in", 12), ("fence-out", 3), ("forged-arp", 1), ("forged-mac", 1), ("reset-inside", 2)])
                .unwrap(),
            "dropped 12 packets inward, 3 outward, 2 forged; answered 2 packets of unknown connections by a reset"
        );
        assert_eq!(said(&[("reset-outside", 1)]).unwrap(), "answered 1 packet of unknown connections by a reset");
    }

    #[test]
    fn the_end_of_a_console_is_its_last_lines_without_control_characters() {
        let lines = last_lines("one\r\n\n\u{1b}[31mtwo\n  \nthree\u{7}", 2);
        assert_eq!(lines, ["[31mtwo", "three"]);
        assert!(last_lines("", 2).is_empty());
    }

    #[test]
    fn a_failed_machine_shows_why_and_the_end_of_its_console() {
        insta::assert_snapshot!(environment_text(&failed_detail(), now(), Style::PLAIN), @r"
        shop: failed, 1 of 2 machines ready, fence out-only, 28d old
        inside: 192.168.23.0/24 in lab.contoso.com, gateway 192.168.23.254

        MACHINE  PHASE    READY AFTER  AGENT  INSIDE        OUTSIDE    EXPOSED  WHY
        web      failed   -            -      192.168.23.1  10.86.0.1  -        see below
        old      stopped  -            -      192.168.23.3  10.86.0.3  -        the guest shut down

        up: 1 of 3 steps done
          web: ready

        problem: shop/web: machine web did not become ready within 5m: nothing accepts connections on tcp 80
          [    3.1] init: start
          [    3.2] httpd: Address in use
        hint: `wardian console shop/web` shows what it prints
        ");
    }
}
