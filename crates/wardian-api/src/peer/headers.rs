//! Which headers go with a request that is carried, and with its answer.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// That a request has been carried, and must not be again.
pub(super) const CARRIED: HeaderName = HeaderName::from_static("wardian-carried");

/// The value of [`CARRIED`].
pub(super) const YES: HeaderValue = HeaderValue::from_static("1");

/// What is said to the next one only (RFC 9110, section 7.6.1), and what each of our connections says for itself.
const OWN: [HeaderName; 12] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
    header::AUTHORIZATION,
    header::EXPECT,
];

/// The headers without those that belong to one connection.
pub(super) fn through(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in OWN.iter().chain(&named) {
        headers.remove(name);
    }
    headers
}

/// Says that the connection is to be, or is, upgraded.
pub(super) fn upgrade_to(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_stays_there_and_the_rest_goes_through() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "Upgrade, x-hop"),
            ("x-hop", "1"),
            ("upgrade", "wardian-console"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer mine"),
            ("host", "wardian"),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("last-event-id", "7"),
            ("accept", "text/event-stream"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut left: Vec<String> = through(headers).keys().map(ToString::to_string).collect();
        left.sort();
        assert_eq!(left, ["accept", "content-length", "last-event-id"]);
    }
}
