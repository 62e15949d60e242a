//! `wardian events`: what happened, one line each.

use futures::TryStreamExt as _;
use wardian_api::wire::Event;

use wardian_client::{EventOptions, Patience};

use super::{Session, args, failure::Failure};

pub(crate) async fn run(session: &Session, arguments: args::Events) -> Result<(), Failure> {
    let client = session.client().await?;
    let options = EventOptions {
        from: None,
        follow: arguments.follow,
        environment: arguments.environment.map(|environment| environment.to_string()),
    };
    let mut events = std::pin::pin!(client.events(options, Patience::default()));
    while let Some(event) = events.try_next().await? {
        if session.output.json { session.output.json(&event)? } else { session.output.data(line(&event))? }
    }
    Ok(())
}

fn line(event: &Event) -> String {
    // Seconds are enough to read, and lines stay in columns.
    let at = event
        .at
        .parse()
        .map_or_else(|_| event.at.clone(), |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    match &event.machine {
        Some(machine) => format!("{at}  {}/{machine}  {}\n", event.environment, event.message),
        None => format!("{at}  {}  {}\n", event.environment, event.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_that_begins_with_its_second() {
        let event = Event {
            sequence: 7,
            at: "2026-03-01T12:00:00.123456Z".into(),
            environment: "store".into(),
            machine: Some("web".into()),
            message: "is ready after 3.8 s".into(),
        };
        assert_eq!(line(&event), "2026-03-01T12:00:00Z  store/web  is ready after 3.8 s\n");
        let event = Event { machine: None, message: "was removed".into(), ..event };
        assert_eq!(line(&event), "2026-03-01T12:00:00Z  store  was removed\n");
    }
}
