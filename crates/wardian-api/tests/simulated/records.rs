//! Records as examples: an environment with its machines, an image, ends of operations.

use serde_json::json;
use wardian_model::{
    Timestamp,
    environment::{EnvironmentRecord, Problem},
    id::EnvironmentId,
    image::ImageRecord,
    operation::OperationState,
    size::ByteSize,
};

use super::Pair;

pub const CREATED: &str = "2026-01-02T03:04:05Z";

/// The records of an environment with the machines `web` (ready) and `db` (failed).
pub fn environment(name: &str, from: Option<&EnvironmentRecord>) -> Pair {
    let id = EnvironmentId::random();
    let origin = from.map_or(
        json!({ "from": "file" }),
        |source| json!({ "from": "clone", "name": source.name, "id": source.id, "cut": "00000000000000aa" }),
    );
    let identity = |number: u8, hostname: &str| {
        json!({
            "inside": {
                "hostname": hostname,
                "address": format!("192.168.23.{number}"),
                "mac": format!("02:57:00:00:00:0{number}"),
                "uuid": "8f3f6c1e-0000-4000-8000-000000000001",
            },
            "outside": { "address": format!("10.86.0.{number}"), "mac": format!("02:57:00:01:00:0{number}") },
            "slot": number,
        })
    };
    let record = json!({
        "id": id,
        "name": name,
        "created": CREATED,
        "spec": {
            "name": name,
            "machines": {
                "web": { "image": "micro", "hostname": "web-server", "memory": "192 MiB" },
                "db": { "image": "micro" },
            },
            "network": { "domain": "lab.contoso.com" },
        },
        "origin": origin,
        "edge": { "slot": 1, "mac": "02:57:00:02:00:01" },
        "identities": { "web": identity(1, "web-server"), "db": identity(2, "db") },
        "fence": "out-only",
        "exposed": [{ "machine": "web", "port": 80, "protocol": "tcp", "at": 8080, "address": "10.86.0.1" }],
        "desired": "running",
        "run": 1,
        "phase": { "is": "degraded" },
        "operation": null,
    });
    let machine = |machine: &str, phase: serde_json::Value, agent: serde_json::Value| {
        let record = json!({
            "environment": name,
            "environment-id": id,
            "name": machine,
            "disk": { "image": "0".repeat(64), "layers": [] },
            "generation": "8f3f6c1e-0000-4000-8000-000000000002",
            "run": 1,
            "phase": phase,
            "agent": agent,
        });
        serde_json::from_value(record).expect("a machine's record")
    };
    let process = json!({ "pid": 4711, "start-time": 1 });
    let ready = json!({ "is": "ready", "process": process, "since": CREATED, "after-ms": 3700 });
    let problem = json!({ "message": "QEMU ended", "hint": "look at the console", "details": ["last words"] });
    let machines = vec![
        machine("web", ready, json!({ "is": "answers", "version": "8.2" })),
        machine("db", json!({ "is": "failed", "problem": problem }), json!({ "is": "silent" })),
    ];
    let mut record: EnvironmentRecord = serde_json::from_value(record).expect("an environment's record");
    // `json!` sorts its keys; the file's order is web, db.
    record.spec.machines.reverse();
    record.identities.reverse();
    (record, machines)
}

pub fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("a name")
}

pub fn done() -> OperationState {
    OperationState::Done { at: CREATED.parse().expect("a time") }
}

pub fn failed(message: &str) -> OperationState {
    OperationState::Failed { at: CREATED.parse().expect("a time"), problem: Problem::new(message).hint("try again") }
}

pub fn image(text: &str) -> ImageRecord {
    ImageRecord {
        name: name(text),
        digest: "ab".repeat(32),
        virtual_size: ByteSize::mib(64),
        disk_size: ByteSize::mib(8),
        format: "raw".to_owned(),
        kernel: true,
        imported: CREATED.parse::<Timestamp>().expect("a time"),
    }
}
