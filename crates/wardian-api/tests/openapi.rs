//! The checked-in OpenAPI document is the one the code makes, and it and the router know the same routes.

mod simulated;

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use simulated::{Host, Simulated};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use wardian_api::routes;

fn document() -> Value {
    serde_json::to_value(routes::openapi()).unwrap()
}

#[test]
fn the_checked_in_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let made = format!("{}\n", routes::openapi().to_pretty_json().unwrap());
    if std::env::var_os("WARDIAN_UPDATE").is_some_and(|update| update == "1") {
        std::fs::write(path, made).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == made, "openapi.json is out of date; WARDIAN_UPDATE=1 cargo test -p wardian-api writes it anew");
}

#[tokio::test]
async fn the_router_serves_exactly_the_methods_of_the_document() {
    let router = routes::router(Arc::new(Host(Simulated::new())), CancellationToken::new());
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 20, "{}", paths.len());
    for (path, item) in paths {
        let target = path.replace("{id}", "0000000000000001").replace(['{', '}'], "");
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let request = Request::builder().method(&method).uri(&target).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let status = response.status();
            let documented = item.get(method.as_str().to_lowercase()).is_some();
            let allowed = status != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(allowed, documented, "{method} {path}: {status}");
            if status == StatusCode::NOT_FOUND {
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert!(!String::from_utf8_lossy(&body).contains("no route"), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let router = routes::router(Arc::new(Host(Simulated::new())), CancellationToken::new());
    let request = Request::get("/v1/openapi.json").body(Body::empty()).unwrap();
    let body = router.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), document());
}

#[test]
fn everything_in_the_document_is_described() {
    let document = document();
    let mut lacking = BTreeSet::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        if schema.get("description").is_none() {
            lacking.insert(name.clone());
        }
        let kebab = |key: &str| key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(kebab(key), "{name}.{key}");
            // An optional value of another type is described inside.
            let optional = property["oneOf"].as_array().into_iter().flatten();
            if !std::iter::once(property).chain(optional).any(|schema| schema.get("description").is_some()) {
                lacking.insert(format!("{name}.{key}"));
            }
        }
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation.get("summary").is_none() || operation.get("operationId").is_none() {
                lacking.insert(format!("{method} {path}"));
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter.get("description").is_none() {
                    lacking.insert(format!("{method} {path}: {}", parameter["name"]));
                }
            }
        }
    }
    assert_eq!(lacking, BTreeSet::new());
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    found.insert(reference.clone());
                }
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
