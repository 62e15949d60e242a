//! How far another host's clock is from this one's.

use std::{net::SocketAddrV4, time::SystemTime};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, header},
};
use hyper::Request;
use wardian_model::{SignedDuration, Timestamp, name::HostName};

use super::{
    dial::{self, PeerError},
    trust::Trust,
};

/// Says what time it is. The server would, too, but it goes on with the last time it knows when the clock is set back.
pub(super) fn tell(headers: &mut HeaderMap) {
    if let Ok(now) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        headers.insert(header::DATE, now);
    }
}

/// By how much this host's clock is ahead of that host's, to a second or two: by the `Date` that every answer has
/// (RFC 9110, section 6.6.1).
///
/// # Errors
/// When it doesn't answer, or doesn't say what time it is.
pub async fn clock_ahead(trust: &Trust, host: &HostName, address: SocketAddrV4) -> Result<SignedDuration, PeerError> {
    let odd = |what: String| PeerError::Odd { host: host.clone(), what };
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::HEAD;
    let asked = Timestamp::now();
    let answer = dial::send(trust, host, address, request).await?;
    let answered = Timestamp::now();
    let date = answer.headers().get(header::DATE).ok_or_else(|| odd("it doesn't say what time it is".into()))?;
    let theirs = httpdate::parse_http_date(date.to_str().unwrap_or_default())
        .ok()
        .and_then(|time| Timestamp::try_from(time).ok())
        .ok_or_else(|| odd(format!("{date:?} is no time")))?;
    Ok((asked + answered.duration_since(asked) / 2).duration_since(theirs))
}
