//! `wardian expire`: when an environment is removed by itself; and how that is counted down elsewhere.

use jiff::Timestamp;
use wardian_api::wire::Expiry;

use super::{Session, args, failure::Failure, steps::milliseconds, table::duration, target::ExpiryTime};

pub(crate) async fn run(session: &Session, arguments: args::Expire) -> Result<(), Failure> {
    let after = match arguments.when {
        ExpiryTime::After(span) => Some(milliseconds(span.duration())),
        ExpiryTime::Never => None,
    };
    let expiry = session.client().await?.set_expiry(arguments.environment.as_str(), after).await?;
    if session.output.json {
        return session.output.json(&expiry);
    }
    session.output.data(line(&expiry, Timestamp::now()) + "\n")
}

fn line(expiry: &Expiry, now: Timestamp) -> String {
    let environment = &expiry.environment;
    match &expiry.expires {
        Some(at) => format!("{environment} expires {}", when(at, now)),
        None => format!("{environment} never expires"),
    }
}

/// When a time on the wire comes, as the end of a sentence.
pub(crate) fn when(at: &str, now: Timestamp) -> String {
    match countdown(at, now).as_str() {
        "now" => "now".to_owned(),
        left => format!("in {left}, at {}", second(at)),
    }
}

/// How long it is until a time on the wire: `2h 5m`; `now` when it has come.
pub(crate) fn countdown(at: &str, now: Timestamp) -> String {
    let Ok(at) = at.parse::<Timestamp>() else { return "-".to_owned() };
    // What was just set to two hours shall not be called one hour and 59 minutes.
    let left = (at.as_millisecond() - now.as_millisecond() + 999) / 1000;
    match u64::try_from(left) {
        Ok(0) | Err(_) => "now".to_owned(),
        Ok(seconds @ 1..60) => format!("{seconds}s"),
        Ok(seconds) => duration(seconds.saturating_mul(1000)),
    }
}

/// A time on the wire without fractions of its second.
fn second(at: &str) -> String {
    at.parse().map_or_else(|_| at.to_owned(), |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::NOW;

    #[test]
    fn an_expiry_is_told_as_a_countdown_and_a_time() {
        let now = NOW.parse().unwrap();
        let expires = |expires: Option<&str>| Expiry { environment: "store".into(), expires: expires.map(Into::into) };
        insta::assert_snapshot!(line(&expires(Some("2026-03-01T13:59:59.9995Z")), now), @"store expires in 2h 0m, at 2026-03-01T13:59:59Z");
        insta::assert_snapshot!(line(&expires(None), now), @"store never expires");
        assert_eq!(line(&expires(Some(NOW)), now), "store expires now");
    }

    #[test]
    fn a_countdown_ends_with_now() {
        let now: Timestamp = NOW.parse().unwrap();
        let left = |at: &str| countdown(at, now);
        assert_eq!(left("2026-03-01T12:00:12Z"), "12s");
        assert_eq!(left("2026-03-01T12:05:12Z"), "5m 12s");
        assert_eq!(left("2026-03-04T12:05:12Z"), "3d");
        assert_eq!(left("2026-03-01T12:00:00Z"), "now");
        assert_eq!(left("2026-03-01T11:00:00Z"), "now");
        assert_eq!(left("soon"), "-");
    }
}
