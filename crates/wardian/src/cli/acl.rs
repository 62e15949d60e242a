//! `wardian acl`: what machines may say and hear.

use wardian_api::wire::{AclRequest, AclState};

use super::{Session, args, failure::Failure};

pub(crate) async fn run(session: &Session, arguments: args::Acl) -> Result<(), Failure> {
    let client = session.client().await?;
    let args::Acl { target, rules, clear } = arguments;
    let environment = target.environment.as_str();
    let state = if clear || !rules.is_empty() {
        let machine = target.machine.as_ref().map(ToString::to_string);
        let rules = rules.iter().map(ToString::to_string).collect();
        client.set_acl(environment, &AclRequest { machine, rules }).await?
    } else {
        client.acl(environment).await?
    };
    for warning in &state.warnings {
        session.output.message(format!("warning: {}", warning.message));
    }
    if session.output.json {
        return session.output.json(&state);
    }
    session.output.data(render(&state, target.machine.as_ref().map(|machine| machine.as_str())))
}

/// The lists, in the order they are asked; of one machine, its own and what is asked after.
fn render(state: &AclState, only: Option<&str>) -> String {
    let name = &state.environment;
    let shown = |machine: &&String| only.is_none_or(|only| only == *machine);
    let machines =
        state.machines.keys().filter(shown).map(|machine| (format!("{name}/{machine}"), &state.machines[machine]));
    let network = [(name.clone(), &state.network)].into_iter().filter(|(_, rules)| !rules.is_empty());
    let mut text = String::new();
    for (of, rules) in machines.chain(network) {
        text += &format!("{of}:\n");
        for rule in rules {
            text += &format!("  {rule}\n");
        }
    }
    if text.is_empty() {
        let of = only.map_or_else(|| name.clone(), |machine| format!("{name}/{machine}"));
        return format!("{of}: no rules, so everything is allowed that the fence allows\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_shown_in_the_order_they_are_asked() {
        let texts = |rules: &[&str]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut state = AclState { environment: "store".into(), ..AclState::default() };
        assert_eq!(render(&state, None), "store: no rules, so everything is allowed that the fence allows\n");
        assert_eq!(render(&state, Some("db")), "store/db: no rules, so everything is allowed that the fence allows\n");
        state.network = texts(&["deny udp to any port 53"]);
        state.machines.insert("db".into(), texts(&["allow tcp from web to db port 5432", "deny any"]));
        state.machines.insert("web".into(), texts(&["deny out icmp"]));
        insta::assert_snapshot!(render(&state, Some("db")), @r"
        store/db:
          allow tcp from web to db port 5432
          deny any
        store:
          deny udp to any port 53
        ");
        assert!(render(&state, None).contains("store/web:\n  deny out icmp\n"));
    }
}
