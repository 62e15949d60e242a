//! `wardian host`: what this host can do, and what it lacks; the hosts of its cluster.

use wardian_api::wire::{HostList, HostReport, Verdict};

mod join;

use super::{Session, args, failure::Failure, output::Style, table::table};

pub(crate) async fn run(session: &Session, command: args::Host) -> Result<(), Failure> {
    match command {
        args::Host::Check => check(session).await,
        args::Host::Ls => list(session).await,
        args::Host::Join => join::run(session).await,
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let list = HostList { hosts: session.client().await?.hosts().await? };
    if session.output.json {
        return session.output.json(&list);
    }
    if list.hosts.is_empty() {
        session.output.message("this host is alone: its records are its own (`wardian daemon --help` shows [cluster])");
    }
    session.output.data(hosts(&list, session.output.data_style))
}

fn hosts(list: &HostList, style: Style) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let rows = list.hosts.iter().map(|host| {
        let marks = [(host.here, "answers"), (host.leads, "leads")];
        let marks: Vec<_> = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        [
            host.name.clone().into(),
            style.phase(host.phase.word()),
            host.machines.to_string().into(),
            format!("{} of {} MiB", mib(host.promised_bytes), mib(host.memory_bytes)).into(),
            host.cores.to_string().into(),
            host.provider_address.clone().into(),
            host.lab_address.clone().into(),
            host.version.clone().into(),
            marks.join(", ").into(),
        ]
    });
    table(["NAME", "STATE", "MACHINES", "PROMISED", "CORES", "PROVIDER ADDRESS", "LAB ADDRESS", "VERSION", ""], rows)
}

/// Ends with 1 when something that environments need is missing, so that scripts may ask.
async fn check(session: &Session) -> Result<(), Failure> {
    let report = session.client().await?.host_report().await?;
    if session.output.json {
        session.output.json(&report)?;
    } else {
        session.output.data(render(&report, session.output.data_style))?;
    }
    if report.ok() { Ok(()) } else { Err(Failure::Exit(1)) }
}

fn render(report: &HostReport, style: Style) -> String {
    let checks = report.checks.iter().map(|check| {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "failed",
        };
        [check.name.clone().into(), style.phase(verdict), check.message.clone().into()]
    });
    table(["CHECK", "VERDICT", "FOUND"], checks) + &hints(report, style)
}

/// What to do about whatever isn't as it should be.
fn hints(report: &HostReport, style: Style) -> String {
    let wanting = report.checks.iter().filter(|check| check.verdict != Verdict::Ok);
    wanting
        .filter_map(|check| Some(format!("{} {}: {}\n", style.mark("hint:"), check.name, check.hint.as_ref()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::host_report;

    #[test]
    fn checks_are_a_table_with_hints_below() {
        insta::assert_snapshot!(render(&host_report(), Style::PLAIN), @r"
        CHECK        VERDICT  FOUND
        qemu         ok       QEMU 10.0.2 at /usr/bin/qemu-system-x86_64
        accelerator  warning  tcg: /dev/kvm is there but hangs guests
        nftables     failed   nft is not installed
        hint: accelerator: enable nested virtualization
        hint: nftables: install the package nftables
        ");
    }
}
