//! What this build of QEMU knows, from `query-qmp-schema`.

use std::collections::HashMap;

use serde_json::Value;

/// The schema of a QEMU, indexed by name.
#[derive(Debug, Clone)]
pub struct Schema(HashMap<String, Value>);

impl Schema {
    pub(super) fn new(entities: Value) -> Self {
        let Value::Array(entities) = entities else { return Schema(HashMap::new()) };
        let named = |entity: Value| Some((entity.get("name")?.as_str()?.to_owned(), entity));
        Schema(entities.into_iter().filter_map(named).collect())
    }

    fn is(&self, name: &str, kind: &str) -> bool {
        self.0.get(name).and_then(|e| e.get("meta-type")).and_then(Value::as_str) == Some(kind)
    }

    /// Whether there is such a command.
    pub fn has_command(&self, name: &str) -> bool {
        self.is(name, "command")
    }

    /// Whether there is such an event.
    pub fn has_event(&self, name: &str) -> bool {
        self.is(name, "event")
    }

    /// Whether the command takes an argument of this name.
    pub fn has_argument(&self, command: &str, argument: &str) -> bool {
        let arguments = || {
            let kind = self.0.get(command)?.get("arg-type")?.as_str()?;
            self.0.get(kind)?.get("members")?.as_array()
        };
        arguments().is_some_and(|all| all.iter().any(|m| m.get("name").and_then(Value::as_str) == Some(argument)))
    }
}
