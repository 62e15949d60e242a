//! The checked-in JSON Schema is the one the types give, and the example of the documentation can be read.

use std::{fs, path::Path};

use wardian_model::{file, spec::Fence};

#[test]
fn the_checked_in_schema_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/environment.schema.json");
    let fresh = serde_json::to_string_pretty(&file::schema()).unwrap() + "\n";
    if std::env::var_os("WARDIAN_UPDATE").is_some_and(|value| value == "1") {
        fs::write(&path, &fresh).unwrap();
    }
    // The order of keys may differ with the features other crates choose, the content may not.
    let kept = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
    assert!(
        kept == Some(file::schema()),
        "{} is stale; write it anew with: WARDIAN_UPDATE=1 cargo test -p wardian-model --test schema",
        path.display()
    );
}

#[test]
fn the_schema_tells_defaults_and_meanings() {
    let schema = file::schema();
    let machine = &schema["$defs"]["MachineSpec"]["properties"];
    assert_eq!(machine["memory"]["default"], "512 MiB");
    assert_eq!(machine["cpus"]["default"], 1);
    assert!(machine["start-after"]["description"].as_str().unwrap().contains("ready"));
    assert_eq!(schema["$defs"]["NetworkSpec"]["properties"]["subnet"]["default"], "192.168.23.0/24");
}

#[test]
fn the_example_is_the_store_of_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/store.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let file = file::read(&text, "store.yaml").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(file.warnings, []);
    let spec = file.spec;
    assert_eq!(spec.name.as_str(), "store");
    assert_eq!(spec.machines.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["web", "db"]);
    assert_eq!(spec.machines["web"].ready.probe.to_string(), "http 80/");
    assert_eq!(spec.machines["db"].ready.probe.to_string(), "tcp 5432");
    assert_eq!(spec.isolation.fence, Fence::OutOnly);
    assert_eq!(spec.isolation.expose[0].to_string(), "web:80");
    for machine in spec.machines.values() {
        let user_data = machine.cloud_init.as_ref().and_then(|it| it.user_data.as_ref()).unwrap();
        assert!(user_data.starts_with("#!/bin/sh\n"));
    }
}

#[test]
fn every_file_in_the_reference_can_be_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/environment-file.md");
    let text = fs::read_to_string(&path).unwrap();
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    // The others are parts of a file, by themselves.
    let (whole, parts): (Vec<&str>, Vec<&str>) = blocks.into_iter().partition(|block| block.starts_with("name:"));
    assert_eq!((whole.len(), parts.len()), (5, 1));
    for part in parts {
        let text = format!("name: it\nmachines: {{ m: {{ image: micro }} }}\n{part}");
        file::read(&text, "environment-file.md").unwrap_or_else(|error| panic!("{error}"));
    }
    for block in whole {
        let file = file::read(block, "environment-file.md").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(file.warnings, []);
    }
}
