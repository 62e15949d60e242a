//! What a request is about, and so who may have to answer it.

use axum::extract::FromRequestParts as _;
use axum::{
    extract::{MatchedPath, RawPathParams, Request},
    http::Method,
};
use wardian_model::name::{EnvironmentName, MachineName};

/// What all routes of one environment start with.
const ENVIRONMENT: &str = "/v1/environments/{environment}";

/// Where environments are made.
const ENVIRONMENTS: &str = "/v1/environments";

/// What is read here out of records alone, and so can be read on any host.
const RECORDS: [&str; 6] = ["", "/acl", "/addresses", "/fence", "/gateway", "/snapshots"];

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    /// One environment, or one machine of it: the host it is on answers.
    Environment {
        /// Its name, from the path.
        name: EnvironmentName,
        /// The machine's, where the path has one.
        machine: Option<MachineName>,
        /// Whether records are enough for an answer.
        records: bool,
    },
    /// An environment that is not there yet.
    Creation,
    /// Anything else, what the store knows or this host is: answered by whoever is asked.
    Other,
}

impl About {
    /// What the router has found the request to be about. A clone is about its source, and going back to a snapshot of
    /// another environment is about the one that goes back: both are in the path.
    pub(super) async fn of(request: Request) -> (Self, Request) {
        let (mut parts, body) = request.into_parts();
        let matched = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
        let about = match matched.as_deref() {
            Some(ENVIRONMENTS) if parts.method == Method::POST => Self::Creation,
            Some(path) if path.starts_with(ENVIRONMENT) => {
                let params = RawPathParams::from_request_parts(&mut parts, &()).await.ok();
                let named = |wanted| {
                    let mut params = params.iter().flatten();
                    params.find(|(key, _)| *key == wanted).map(|(_, name)| name.to_owned())
                };
                let name = named("environment");
                let machine = named("machine").and_then(|name| MachineName::new(name).ok());
                let reads = parts.method == Method::GET || parts.method == Method::HEAD;
                let records = reads && RECORDS.contains(&&path[ENVIRONMENT.len()..]);
                // What can't be a name is refused by the handler, which says why.
                match name.map(EnvironmentName::new) {
                    Some(Ok(name)) => Self::Environment { name, machine, records },
                    _ => Self::Other,
                }
            }
            _ => Self::Other,
        };
        (about, Request::from_parts(parts, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_that_names_an_environment_in_its_path_is_recognized() {
        let document = crate::routes::openapi();
        let named: Vec<_> = document.paths.paths.keys().filter(|path| path.contains("{environment}")).collect();
        assert!(named.len() > 10, "{named:?}");
        assert!(named.iter().all(|path| path.starts_with(ENVIRONMENT)), "{named:?}");
        for rest in RECORDS {
            assert!(named.contains(&&format!("{ENVIRONMENT}{rest}")), "{rest}");
        }
        assert!(document.paths.paths.contains_key(ENVIRONMENTS));
    }
}
