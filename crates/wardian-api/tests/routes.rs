//! What each route answers, and how each kind of refusal looks, against a simulated host.

mod simulated;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use simulated::{Host, Simulated};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use wardian_api::{
    backend::{Refusal, RefusalKind},
    routes,
    wire::{EnvironmentDetail, ErrorBody, ErrorKind},
};
use wardian_model::environment::Problem;

fn routes_on(simulated: &Arc<Simulated>) -> Router {
    routes::router(Arc::new(Host(simulated.clone())), CancellationToken::new())
}

async fn ask_bytes(router: &Router, method: Method, target: &str, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
    let request = Request::builder().method(method).uri(target).body(body.into()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

async fn ask(router: &Router, method: Method, target: &str, body: Value) -> (StatusCode, Value) {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let (status, bytes) = ask_bytes(router, method, target, body).await;
    let value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    (status, value)
}

async fn get(router: &Router, target: &str) -> (StatusCode, Value) {
    ask(router, Method::GET, target, Value::Null).await
}

fn error_of(body: Value) -> wardian_api::wire::ApiError {
    serde_json::from_value::<ErrorBody>(body).expect("an error body").error
}

/// A well-formed request to every route that reaches the backend first thing.
fn every_route() -> Vec<(Method, &'static str, Value)> {
    let machine = "/v1/environments/store/machines/web";
    let at = |rest: &str| -> &'static str { Box::leak(format!("{machine}{rest}").into_boxed_str()) };
    vec![
        (Method::GET, "/v1/environments", Value::Null),
        (Method::POST, "/v1/environments", json!({ "file": "name: new" })),
        (Method::POST, "/v1/check", json!({ "file": "name: new" })),
        (Method::GET, "/v1/environments/store", Value::Null),
        (Method::DELETE, "/v1/environments/store", Value::Null),
        (Method::POST, "/v1/environments/store/start", Value::Null),
        (Method::POST, "/v1/environments/store/stop", Value::Null),
        (Method::POST, "/v1/environments/store/suspend", Value::Null),
        (Method::POST, "/v1/environments/store/clone", json!({ "name": "new" })),
        (Method::GET, "/v1/environments/store/addresses", Value::Null),
        (Method::POST, "/v1/environments/store/expose", json!({ "machine": "web", "port": 80 })),
        (Method::DELETE, "/v1/environments/store/expose?machine=web&port=80", Value::Null),
        (Method::GET, "/v1/environments/store/snapshots", Value::Null),
        (Method::POST, "/v1/environments/store/snapshots", json!({ "name": "clean" })),
        (Method::DELETE, "/v1/environments/store/snapshots/clean", Value::Null),
        (Method::POST, "/v1/environments/store/restore", json!({ "snapshot": "clean" })),
        (Method::GET, "/v1/environments/store/fence", Value::Null),
        (Method::PUT, "/v1/environments/store/fence", json!({ "fence": "sealed" })),
        (Method::GET, "/v1/environments/store/acl", Value::Null),
        (Method::PUT, "/v1/environments/store/acl", json!({ "rules": ["deny any"] })),
        (Method::GET, "/v1/environments/store/gateway", Value::Null),
        (Method::PUT, "/v1/environments/store/gateway", json!({ "gateway": "host" })),
        (Method::PUT, "/v1/environments/store/expiry", json!({ "after-ms": 1 })),
        (Method::DELETE, "/v1/environments/store/expiry", Value::Null),
        (Method::GET, "/v1/conflicts?environment=store", Value::Null),
        (Method::POST, at("/exec"), json!({ "command": ["true"] })),
        (Method::GET, at("/file?path=/etc/hosts"), Value::Null),
        (Method::PUT, at("/file?path=/etc/hosts&mode=644"), Value::Null),
        (Method::GET, at("/console/tail"), Value::Null),
        (Method::GET, "/v1/operations", Value::Null),
        (Method::GET, "/v1/operations/0000000000000001", Value::Null),
        (Method::GET, "/v1/operations/0000000000000001/follow", Value::Null),
        (Method::GET, "/v1/events", Value::Null),
        (Method::GET, "/v1/images", Value::Null),
        (Method::POST, "/v1/images", json!({ "name": "new", "path": "/disk" })),
        (Method::DELETE, "/v1/images/micro", Value::Null),
        (Method::GET, "/v1/host", Value::Null),
        (Method::GET, "/v1/hosts", Value::Null),
        (Method::POST, "/v1/host/join", Value::Null),
        (Method::GET, "/v1/info", Value::Null),
    ]
}

#[tokio::test]
async fn every_route_passes_every_kind_of_refusal_on() {
    let kinds = [
        (RefusalKind::NotFound, 404, ErrorKind::NotFound),
        (RefusalKind::Conflict, 409, ErrorKind::Conflict),
        (RefusalKind::Invalid, 400, ErrorKind::Invalid),
        (RefusalKind::Unavailable, 503, ErrorKind::Unavailable),
        (RefusalKind::Internal, 500, ErrorKind::Internal),
    ];
    for (kind, status, on_the_wire) in kinds {
        let simulated = Simulated::new();
        let problem = Problem::new("it can't be").hint("do this").details(["so it is".to_owned()]);
        simulated.refuse(Refusal::new(kind, problem));
        let router = routes_on(&simulated);
        for (method, target, body) in every_route() {
            let (answered, body) = ask(&router, method.clone(), target, body).await;
            assert_eq!(answered.as_u16(), status, "{method} {target}");
            let error = error_of(body);
            assert_eq!(error.kind, on_the_wire, "{method} {target}");
            assert_eq!(error.message, "it can't be");
            assert_eq!(error.hint.as_deref(), Some("do this"));
            assert_eq!(error.details, ["so it is"]);
        }
    }
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_are_refused_in_json() {
    let router = routes_on(&Simulated::new());
    for target in ["/", "/v1", "/v1/nothing", "/v2/environments", "/v1/environments/", "/v1/environments/store/fly"] {
        let (status, body) = get(&router, target).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{target}");
        let error = error_of(body);
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(error.message.contains(target), "{}", error.message);
    }
    let (status, body) = ask(&router, Method::PATCH, "/v1/environments/store", Value::Null).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let error = error_of(body);
    assert_eq!(error.kind, ErrorKind::MethodNotAllowed);
    assert!(error.message.contains("PATCH"), "{}", error.message);
}

#[tokio::test]
async fn json_that_is_wrong_is_refused_with_its_position() {
    let router = routes_on(&Simulated::new());
    let cases = [
        ("", "EOF"),
        ("{\n  \"file\": ,\n}", "line 2 column 11"),
        ("{\"file\": 1}", "line 1 column 10"),
        ("{\"flie\": \"\"}", "unknown field `flie`"),
        ("{}", "missing field `file`"),
        ("[]", "line 1"),
        ("{\"file\": \"\"} x", "line 1 column 14"),
        ("\"\\ud800\"", "line 1"),
    ];
    for (body, expected) in cases {
        let (status, answer) = ask_bytes(&router, Method::POST, "/v1/environments", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        let error = error_of(serde_json::from_slice(&answer).unwrap());
        assert!(error.message.contains(expected), "{body}: {}", error.message);
    }
}

#[tokio::test]
async fn bodies_and_queries_that_are_too_much_are_refused() {
    let router = routes_on(&Simulated::new());
    let large = format!("{{\"file\": \"{}\"}}", "x".repeat(5 << 20));
    let (status, body) = ask_bytes(&router, Method::POST, "/v1/environments", large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let error = error_of(serde_json::from_slice(&body).unwrap());
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert!(error.message.contains("4 MiB"), "{}", error.message);

    let piece = axum::body::Bytes::from(vec![0; 1 << 20]);
    let pieces = futures::stream::iter((0..257).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
    let target = "/v1/environments/store/machines/web/file?path=/dev/null";
    let (status, body) = ask_bytes(&router, Method::PUT, target, Body::from_stream(pieces)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(error_of(serde_json::from_slice(&body).unwrap()).message.contains("256 MiB"));
}

#[tokio::test]
async fn names_ids_and_queries_are_checked_before_the_backend_sees_them() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    // Whatever reached the backend would come back as this.
    simulated.refuse(Refusal::internal("reached the backend"));
    let cases = [
        (Method::GET, "/v1/environments/Store", "environment name"),
        (Method::GET, "/v1/environments/..", "environment name"),
        (Method::GET, "/v1/environments/%2e%2e%2fstore", "environment name"),
        (Method::GET, "/v1/environments/%ff", "not UTF-8"),
        (Method::GET, "/v1/environments/store/machines/-web/console/tail", "machine name"),
        (Method::GET, "/v1/environments/store/machines/web/file", "path"),
        (Method::GET, "/v1/environments/store/machines/web/file?path=", "must not be empty"),
        (Method::GET, "/v1/environments/store/machines/web/file?path=%ff", "UTF-8"),
        (Method::GET, "/v1/environments/store/machines/web/file?path=/a%00", "zero byte"),
        (Method::GET, "/v1/environments/store/machines/web/file?path=/a&size=1", "unknown field"),
        (Method::GET, "/v1/environments/store/machines/web/file?path=/a&path=/b", "duplicate field"),
        (Method::PUT, "/v1/environments/store/machines/web/file?path=/a&mode=888", "octal"),
        (Method::PUT, "/v1/environments/store/machines/web/file?path=/a&mode=%2B644", "octal"),
        (Method::PUT, "/v1/environments/store/machines/web/file?path=/a&mode=77777", "octal"),
        (Method::GET, "/v1/environments/store/machines/web/console/tail?bytes=-1", "invalid digit"),
        (Method::DELETE, "/v1/environments/store/expose?machine=web&port=0", "between 1 and 65535"),
        (Method::DELETE, "/v1/environments/store/expose?machine=web&port=65536", "query"),
        (Method::DELETE, "/v1/environments/store/expose?machine=web&port=1&protocol=icmp", "unknown variant"),
        (Method::GET, "/v1/operations/1", "identifier"),
        (Method::GET, "/v1/operations/%2B00000000000001/follow", "identifier"),
        (Method::GET, "/v1/events?from=x", "invalid digit"),
        (Method::GET, "/v1/events?environment=A", "environment name"),
        (Method::DELETE, "/v1/images/a_b", "image name"),
        (Method::DELETE, "/v1/environments/store/snapshots/a_b", "snapshot name"),
        (Method::GET, "/v1/conflicts", "name one environment or more"),
        (Method::GET, "/v1/conflicts?environment=A", "environment name"),
        (Method::GET, "/v1/conflicts?machine=a", "unknown field `machine`"),
        (Method::GET, "/v1/conflicts?environment=store&environment=store", "store is named twice"),
    ];
    for (method, target, expected) in cases {
        let (status, body) = ask(&router, method.clone(), target, Value::Null).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{method} {target}: {body}");
        let error = error_of(body);
        assert!(error.message.contains(expected), "{method} {target}: {}", error.message);
    }
    let machine = "/v1/environments/store/machines/web/exec";
    let posts = [
        ("/v1/environments", json!({ "file": "", "name": "A" }), "environment name"),
        ("/v1/environments/store/clone", json!({ "name": "c", "count": 0 }), "between 1 and 1000"),
        ("/v1/environments/store/clone", json!({ "name": "c", "count": 1001 }), "between 1 and 1000"),
        ("/v1/environments/store/clone", json!({ "name": "c".repeat(62), "count": 10 }), "63 at most"),
        ("/v1/environments/store/expose", json!({ "machine": "web", "port": 0 }), "between 1 and 65535"),
        ("/v1/environments/store/expose", json!({ "machine": "web", "port": 1, "at": 0 }), "between 1 and 65535"),
        ("/v1/environments/store/expose", json!({ "machine": "W", "port": 1 }), "machine name"),
        ("/v1/environments/store/clone", json!({ "name": "c", "snapshot": "A" }), "snapshot name"),
        ("/v1/environments/store/clone", json!({ "name": "c", "owner": " " }), "can't be an owner"),
        ("/v1/environments/store/clone", json!({ "name": "c", "expire-after-ms": 0 }), "expire at once"),
        ("/v1/environments", json!({ "file": "", "owner": "a\nb" }), "can't be an owner"),
        ("/v1/environments", json!({ "file": "", "owner": "a".repeat(101) }), "can't be an owner"),
        ("/v1/environments", json!({ "file": "", "expire-after-ms": u64::MAX }), "later than a time can be"),
        ("/v1/environments/store/snapshots", json!({ "name": "now@once" }), "snapshot name"),
        ("/v1/environments/store/restore", json!({ "snapshot": "" }), "snapshot name"),
        ("/v1/environments/store/restore", json!({ "snapshot": "a", "of": "B" }), "environment name"),
        (machine, json!({ "command": [] }), "wants the program"),
        (machine, json!({ "command": [""] }), "wants the program"),
        (machine, json!({ "command": ["a", "b\0"] }), "zero byte"),
        (machine, json!({ "command": ["a"], "environment": { "A=B": "" } }), "A=B"),
        (machine, json!({ "command": ["a"], "timeout-ms": 0 }), "timeout-ms"),
        (machine, json!({ "command": ["a"], "stdin": { "base64": "*" } }), "base64"),
        ("/v1/images", json!({ "name": "i", "path": "disk.qcow2" }), "not absolute"),
        ("/v1/images", json!({ "name": "i", "path": "/d", "kernel": "k" }), "not absolute"),
        ("/v1/images", json!({ "name": "i", "path": "/d", "initrd": "/i" }), "belong to a `kernel`"),
        ("/v1/images", json!({ "name": "../i", "path": "/d" }), "image name"),
    ];
    for (target, body, expected) in posts {
        let (status, answer) = ask(&router, Method::POST, target, body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{target} {body}: {answer}");
        let error = error_of(answer);
        assert!(error.message.contains(expected), "{target} {body}: {}", error.message);
    }
}

#[tokio::test]
async fn a_status_tells_everything_about_machines_inside_and_outside() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    let (status, body) = get(&router, "/v1/environments/store").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["phase"], "degraded");
    assert_eq!((&body["machines-total"], &body["machines-ready"]), (&json!(2), &json!(1)));
    assert_eq!(body["origin"], json!({ "from": "file" }));
    assert_eq!(body["problem"]["message"], "QEMU ended");
    assert_eq!(body["gateway"], "192.168.23.254");
    assert_eq!(body["fence-counters"], json!({ "fence-in": 12, "forged-mac": 0 }));
    assert_eq!(body["lineage"], json!([]));
    assert_eq!(body.get("operation"), None);
    let web = &body["machines"][0];
    assert_eq!(web["name"], "web");
    assert_eq!(web["memory-bytes"], 192 << 20);
    assert_eq!(web["ready-after-ms"], 3700);
    assert_eq!(web["pid"], 4711);
    assert_eq!(web["agent"], json!({ "is": "answers", "version": "8.2" }));
    assert_eq!(web["inside"]["fqdn"], "web-server.lab.contoso.com");
    assert_eq!(web["outside"]["address"], "10.86.0.1");
    assert_eq!(web["exposed"][0]["at"], 8080);
    let db = &body["machines"][1];
    assert_eq!((&db["phase"], db.get("pid")), (&json!("failed"), None));
    assert_eq!(db["problem"]["details"], json!(["last words"]));
    let detail: EnvironmentDetail = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(serde_json::to_value(&detail).unwrap(), body, "reads back as it was written");
}

#[tokio::test]
async fn an_operation_in_progress_is_part_of_the_status_until_it_ends() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    let (status, operation) = ask(&router, Method::POST, "/v1/environments/store/stop", Value::Null).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!((&operation["kind"], &operation["state"]), (&json!("down"), &json!("running")));
    let (_, body) = get(&router, "/v1/environments/store").await;
    assert_eq!(body["operation"]["id"], operation["id"]);
    simulated.step(operation["id"].as_str().unwrap(), simulated::failed("no luck"));
    let (_, body) = get(&router, "/v1/environments/store").await;
    assert_eq!(body.get("operation"), None);
    let (_, body) = get(&router, &format!("/v1/operations/{}", operation["id"].as_str().unwrap())).await;
    assert_eq!((&body["state"], &body["problem"]["message"]), (&json!("failed"), &json!("no luck")));
    assert_eq!(body["finished"], simulated::CREATED);
}

#[tokio::test]
async fn the_lineage_ends_where_an_ancestor_is_gone() {
    let simulated = Simulated::new();
    let copy = simulated.state().environments["copy"].0.clone();
    simulated.insert(simulated::environment("copy-of-copy", Some(&copy)));
    let router = routes_on(&simulated);
    let lineage = |body: Value| {
        let all = body["lineage"].as_array().unwrap().clone();
        all.into_iter().map(|a| (a["name"].clone(), a["exists"].clone())).collect::<Vec<_>>()
    };
    let (_, body) = get(&router, "/v1/environments/copy-of-copy").await;
    assert_eq!(lineage(body), [(json!("copy"), json!(true)), (json!("store"), json!(true))]);
    // A new environment of the old name is another one.
    simulated.insert(simulated::environment("copy", None));
    let (_, body) = get(&router, "/v1/environments/copy-of-copy").await;
    assert_eq!(lineage(body), [(json!("copy"), json!(false))]);
}

#[tokio::test]
async fn clones_are_numbered_and_refused_one_by_one() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    simulated.insert(simulated::environment("class-2", None));
    let target = "/v1/environments/store/clone";
    let (status, body) = ask(&router, Method::POST, target, json!({ "name": "class", "count": 3 })).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let clones = body["clones"].as_array().unwrap();
    let names: Vec<_> = clones.iter().map(|clone| clone["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["class-1", "class-2", "class-3"]);
    assert_eq!(clones[0]["operation"]["kind"], "clone");
    assert_eq!(clones[1]["problem"]["message"], "there is an environment class-2 already");
    assert_eq!(clones[1].get("operation"), None);
    let (status, _) = ask(&router, Method::POST, target, json!({ "name": "class-2" })).await;
    assert_eq!(status, StatusCode::CONFLICT, "one clone is refused as a whole");
    let (status, _) = ask(&router, Method::POST, "/v1/environments/none/clone", json!({ "name": "x" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn addresses_are_all_or_those_of_one_machine() {
    let router = routes_on(&Simulated::new());
    let (_, body) = get(&router, "/v1/environments/store/addresses").await;
    assert_eq!(body["addresses"].as_array().unwrap().len(), 2);
    let (_, body) = get(&router, "/v1/environments/store/addresses?machine=db").await;
    assert_eq!(body["addresses"].as_array().unwrap().len(), 1);
    assert_eq!(body["addresses"][0]["inside"]["hostname"], "db");
    assert_eq!(body["addresses"][0]["alias"], "db.store.wardian.internal");
    let opaque = body["addresses"][0]["opaque-alias"].as_str().unwrap();
    assert!(opaque.starts_with("m-") && opaque.ends_with(".wardian.internal"), "{opaque}");
    let (status, _) = get(&router, "/v1/environments/store/addresses?machine=no").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_console_without_an_upgrade_is_told_what_to_send() {
    let router = routes_on(&Simulated::new());
    let (status, body) = get(&router, "/v1/environments/store/machines/web/console").await;
    assert_eq!(status, StatusCode::UPGRADE_REQUIRED);
    assert!(error_of(body).hint.unwrap().contains("upgrade: wardian-console"));
}

#[tokio::test]
async fn streams_say_how_they_end() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    simulated.happen("store", "one");
    simulated.happen("copy", "two");
    simulated.happen("store", "three");
    let text = |bytes: (StatusCode, Vec<u8>)| String::from_utf8(bytes.1).unwrap();
    let all = text(ask_bytes(&router, Method::GET, "/v1/events?environment=store", Body::empty()).await);
    assert!(all.contains("event: event") && all.contains("id: 1") && all.contains("id: 3"), "{all}");
    assert!(!all.contains("two") && all.ends_with("event: end\ndata: {}\n\n"), "{all}");
    let request = Request::get("/v1/events?from=1").header("last-event-id", "2").body(Body::empty()).unwrap();
    let rest = router.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let rest = String::from_utf8(rest.to_vec()).unwrap();
    assert!(rest.contains("three") && !rest.contains("two") && !rest.contains("one"), "{rest}");
    let corrupt = json!({ "name": "new", "path": "/corrupt" }).to_string();
    let import = text(ask_bytes(&router, Method::POST, "/v1/images", corrupt).await);
    assert!(import.contains("event: progress"), "{import}");
    assert!(import.contains("event: error") && import.contains("the disk is corrupt"), "{import}");
    assert!(!import.contains("event: end"), "{import}");
}

#[tokio::test]
async fn snapshots_are_taken_listed_with_where_one_is_and_removed() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    let target = "/v1/environments/store/snapshots";
    let (status, operation) = ask(&router, Method::POST, target, json!({ "name": "clean" })).await;
    assert_eq!((status, &operation["kind"]), (StatusCode::ACCEPTED, &json!("snapshot")));
    ask(&router, Method::POST, target, json!({ "name": "disks", "memory": false })).await;
    let (status, _) = ask(&router, Method::POST, target, json!({ "name": "clean" })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (_, body) = get(&router, target).await;
    let clean = &body["snapshots"][0];
    assert_eq!(
        *clean,
        json!({
            "name": "clean", "id": clean["id"], "environment": "store", "created": simulated::CREATED,
            "phase": "ready", "memory": true, "saved-bytes": 1 << 20, "pause-us": 14_200,
        })
    );
    let disks = &body["snapshots"][1];
    assert_eq!((&disks["parent"], &disks["memory"]), (&clean["id"], &json!(false)));
    assert_eq!(body["at"], json!({ "environment": "store", "name": "disks", "id": disks["id"] }));
    let (_, status_of) = get(&router, "/v1/environments/store").await;
    assert_eq!((&status_of["snapshots"], &status_of["at"]), (&body["snapshots"], &body["at"]));
    let (status, _) = ask(&router, Method::DELETE, &format!("{target}/disks"), Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (_, body) = get(&router, target).await;
    assert_eq!((body["snapshots"].as_array().unwrap().len(), body.get("at")), (1, None));
}

#[tokio::test]
async fn an_environment_goes_back_to_its_own_snapshot_or_to_anothers() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    ask(&router, Method::POST, "/v1/environments/store/snapshots", json!({ "name": "clean" })).await;
    let body = json!({ "snapshot": "clean" });
    let (status, operation) = ask(&router, Method::POST, "/v1/environments/store/restore", body.clone()).await;
    assert_eq!((status, &operation["kind"]), (StatusCode::ACCEPTED, &json!("restore")));
    let (status, _) = ask(&router, Method::POST, "/v1/environments/copy/restore", body).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let body = json!({ "snapshot": "clean", "of": "store" });
    let (status, _) = ask(&router, Method::POST, "/v1/environments/copy/restore", body).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let (_, body) = get(&router, "/v1/environments/copy/snapshots").await;
    assert_eq!(body["snapshots"], json!([]));
    assert_eq!((&body["at"]["environment"], &body["at"]["name"]), (&json!("store"), &json!("clean")));
}

#[tokio::test]
async fn what_is_said_of_clones_reaches_the_backend() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    ask(&router, Method::POST, "/v1/environments/store/snapshots", json!({ "name": "clean" })).await;
    let body = json!({ "name": "x", "snapshot": "clean", "boot": true, "owner": "Ana", "expire-after-ms": 3_600_000 });
    let (status, _) = ask(&router, Method::POST, "/v1/environments/store/clone", body).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let order = simulated.state().cloned.take().unwrap();
    assert_eq!(order.snapshot.unwrap().as_str(), "clean");
    assert_eq!((order.memory, order.extras.owner.as_deref()), (false, Some("Ana")));
    let left = order.extras.expires.unwrap().as_second() - wardian_model::Timestamp::now().as_second();
    assert!((3590..=3600).contains(&left), "{left}");
    ask(&router, Method::POST, "/v1/environments/store/clone", json!({ "name": "y" })).await;
    let order = simulated.state().cloned.take().unwrap();
    assert_eq!((order.snapshot, order.memory, order.customize), (None, true, false));
    assert_eq!((order.extras.owner, order.extras.expires), (None, None));
    ask(&router, Method::POST, "/v1/environments/store/clone", json!({ "name": "z", "customize": true })).await;
    assert!(simulated.state().cloned.take().unwrap().customize);
    let body = json!({ "file": "name: new", "owner": "Ana", "expire-after-ms": 1000 });
    ask(&router, Method::POST, "/v1/environments", body).await;
    let order = simulated.state().ordered.take().unwrap();
    assert_eq!((order.extras.owner.as_deref(), order.extras.expires.is_some()), (Some("Ana"), true));
}

#[tokio::test]
async fn what_is_used_outside_is_warned_of_by_clones_and_conflicts() {
    let simulated = Simulated::new();
    for pair in simulated.state().environments.values_mut() {
        pair.0.spec.machines[0].depends_outside = vec!["the database of accounting".to_owned()];
    }
    let router = routes_on(&simulated);
    let (_, body) = ask(&router, Method::POST, "/v1/environments/store/clone", json!({ "name": "x" })).await;
    let warning = body["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("store/web uses the database of accounting outside, and so will each clone"), "{body}");
    let (_, body) = get(&router, "/v1/conflicts?environment=store").await;
    let warning = body["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("copy/web, store/web use the database of accounting outside"), "{body}");
}

#[tokio::test]
async fn a_gateway_is_changed_and_told() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    let gateway = "/v1/environments/store/gateway";
    let (_, before) = get(&router, gateway).await;
    assert_eq!(before, json!({ "environment": "store", "gateway": "per-machine" }));
    for way in ["host", "web"] {
        let (status, after) = ask(&router, Method::PUT, gateway, json!({ "gateway": way })).await;
        assert_eq!((status, &after["gateway"]), (StatusCode::OK, &json!(way)));
        let (_, body) = get(&router, "/v1/environments/store").await;
        assert_eq!(body["outside-by"], way);
        let outside: Vec<bool> =
            body["machines"].as_array().unwrap().iter().map(|m| m["outside"].is_object()).collect();
        assert_eq!(outside, [way == "web", false]);
    }
    let (status, body) = ask(&router, Method::PUT, gateway, json!({ "gateway": "a machine" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error_of(body).hint.is_some_and(|hint| hint.contains("per-machine, host")));
}

#[tokio::test]
async fn rules_are_replaced_list_by_list_and_told() {
    let router = routes_on(&Simulated::new());
    let acl = "/v1/environments/store/acl";
    let (_, before) = get(&router, acl).await;
    assert_eq!((&before["network"], &before["machines"]), (&json!([]), &json!({})));
    let rules = json!({ "machine": "web", "rules": ["allow tcp from any to any port 80", "deny any"] });
    let (status, after) = ask(&router, Method::PUT, acl, rules).await;
    assert_eq!((status, &after["warnings"][0]["message"]), (StatusCode::OK, &json!("a rule is never asked")));
    ask(&router, Method::PUT, acl, json!({ "rules": ["deny icmp"] })).await;
    let (_, both) = get(&router, acl).await;
    assert_eq!(both["network"], json!(["deny icmp"]));
    assert_eq!(both["machines"], json!({ "web": ["allow tcp to any port 80", "deny any"] }));
    let (status, body) = ask(&router, Method::PUT, acl, json!({ "rules": ["deny tpc"] })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error_of(body).message.contains("tpc"));
    let (_, detail) = get(&router, "/v1/environments/store").await;
    assert_eq!(detail["denied"], json!([{ "machine": "web", "inward": 3, "outward": 0 }]));
}

#[tokio::test]
async fn a_fence_and_an_expiry_are_changed_and_told() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    let fence = "/v1/environments/store/fence";
    let (_, before) = get(&router, fence).await;
    assert_eq!((&before["fence"], &before["exposed"][0]["port"]), (&json!("out-only"), &json!(80)));
    let (status, after) = ask(&router, Method::PUT, fence, json!({ "fence": "sealed" })).await;
    assert_eq!((status, &after["fence"]), (StatusCode::OK, &json!("sealed")));
    let (status, body) = ask(&router, Method::PUT, fence, json!({ "fence": "shut" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error_of(body).message.contains("`open`, `out-only`, `sealed`"));

    let expiry = "/v1/environments/store/expiry";
    let (_, set) = ask(&router, Method::PUT, expiry, json!({ "after-ms": 60_000 })).await;
    let (_, list) = get(&router, "/v1/environments").await;
    let store = list["environments"].as_array().unwrap().iter().find(|e| e["name"] == "store").unwrap();
    assert_eq!((&store["expires"], &store["fence"]), (&set["expires"], &json!("sealed")));
    let (_, unset) = ask(&router, Method::DELETE, expiry, Value::Null).await;
    assert_eq!(unset, json!({ "environment": "store" }));
    assert_eq!(simulated.state().environments["store"].0.expires, None);
    let (status, body) = ask(&router, Method::PUT, expiry, json!({ "after-ms": 0 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error_of(body).hint.unwrap().contains("wardian rm"));
}

#[tokio::test]
async fn conflicts_are_told_between_the_named_or_with_all_others() {
    let simulated = Simulated::new();
    let router = routes_on(&simulated);
    ask(&router, Method::POST, "/v1/environments/store/snapshots", json!({ "name": "clean" })).await;
    let body = json!({ "snapshot": "clean", "of": "store" });
    ask(&router, Method::POST, "/v1/environments/copy/restore", body).await;
    let (status, both) = get(&router, "/v1/conflicts?environment=store&environment=copy").await;
    assert_eq!(status, StatusCode::OK);
    let (_, all) = get(&router, "/v1/conflicts?environment=store").await;
    assert_eq!(both, all);
    let web = json!({ "kind": "computer-name", "value": "web-server", "between": [
        { "environment": "copy", "machine": "web", "value": "web-server" },
        { "environment": "store", "machine": "web", "value": "web-server" },
    ] });
    assert!(both["conflicts"].as_array().unwrap().contains(&web), "{both}");
    assert_eq!(
        both["environments"],
        json!([
            { "name": "copy", "since": simulated::CREATED, "clone-of": "store", "restored-to": "clean",
                "restored-of": "store", "restored-taken": simulated::CREATED },
            { "name": "store", "since": simulated::CREATED },
        ])
    );
    assert!(both["warnings"][0].as_str().unwrap().starts_with("copy, store have machines of the same name"));
    let (status, _) = get(&router, "/v1/conflicts?environment=none").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
