//! Whatever is asked, the answer is at worst a refusal: no panic, no status of 500 or above, always an error body.

mod simulated;

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Uri},
};
use http_body_util::BodyExt as _;
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use simulated::{Host, Simulated};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use wardian_api::{routes, wire::ErrorBody};

fn fixture() -> &'static (Runtime, Router) {
    static FIXTURE: OnceLock<(Runtime, Router)> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        (runtime, routes::router(Arc::new(Host(Simulated::new())), CancellationToken::new()))
    })
}

/// Asks, and checks what must hold of every answer.
fn check(method: Method, target: &str, body: Vec<u8>) {
    let Ok(uri) = target.parse::<Uri>() else { return };
    let (runtime, router) = fixture();
    runtime.block_on(async {
        let request = Request::builder().method(&method).uri(uri).body(Body::from(body)).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        assert!(status.as_u16() < 500, "{method} {target}: {status}");
        if status.as_u16() >= 400 && method != Method::HEAD {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: ErrorBody = serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{method} {target}: {e}"));
            assert_eq!(body.error.kind.status(), status.as_u16());
        }
    });
}

const POSTS: [&str; 8] = [
    "/v1/environments",
    "/v1/check",
    "/v1/environments/store/clone",
    "/v1/environments/store/expose",
    "/v1/environments/store/snapshots",
    "/v1/environments/store/restore",
    "/v1/environments/store/machines/web/exec",
    "/v1/images",
];

fn method() -> impl Strategy<Value = Method> {
    select(vec![Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::TRACE])
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        select(vec!["web", "store", "micro", "/disk", "tcp", "name: x"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 20, 5, |inner| {
        let key = select(vec![
            "file",
            "file-name",
            "name",
            "count",
            "machine",
            "port",
            "protocol",
            "at",
            "command",
            "environment",
            "stdin",
            "text",
            "base64",
            "timeout-ms",
            "path",
            "kernel",
            "initrd",
            "command-line",
            "snapshot",
            "memory",
            "of",
            "owner",
            "expire-after-ms",
            "other",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_as_bodies(target in select(POSTS.to_vec()), body: Vec<u8>) {
        check(Method::POST, target, body);
    }

    #[test]
    fn random_json_of_known_keys_as_bodies(target in select(POSTS.to_vec()), body in value()) {
        check(Method::POST, target, body.to_string().into_bytes());
    }

    #[test]
    fn random_paths(
        method in method(),
        parts in prop::collection::vec(prop_oneof![
            select(vec!["v1", "environments", "machines", "store", "web", "file", "operations", "..", "%ff", "%00", ""])
                .prop_map(str::to_owned),
            "[!-~]{0,8}",
        ], 0..7),
    ) {
        check(method, &format!("/{}", parts.join("/")), Vec::new());
    }

    #[test]
    fn random_queries(
        method in method(),
        route in select(vec![
            "/v1/environments/store/machines/web/file", "/v1/environments/store/machines/web/console/tail",
            "/v1/environments/store/expose", "/v1/environments/store/addresses", "/v1/events",
            "/v1/conflicts",
        ]),
        query in prop_oneof!["[!-~]{0,24}", "(path|mode|bytes|machine|port|protocol|from|environment)=[!-~]{0,12}"],
    ) {
        check(method, &format!("{route}?{query}"), Vec::new());
    }
}

#[test]
fn deeply_nested_json_is_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for target in POSTS {
        check(Method::POST, target, deep.clone().into_bytes());
        check(Method::POST, target, format!("{{\"file\":{deep}}}").into_bytes());
    }
    check(
        Method::POST,
        "/v1/environments/store/clone",
        json!({ "name": "c", "count": 1e300 }).to_string().into_bytes(),
    );
}
