//! Which requests are carried, which are not, and what is said when one can't be.

use axum::body::{Body, Bytes};
use futures::stream;
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wardian_api::{backend::Refusal, wire::ErrorKind};

use crate::{
    hosts::{Two, at, error_of, nobody},
    simulated::environment,
};

#[tokio::test]
async fn the_host_of_an_environment_answers_for_it_and_this_one_for_all_others() {
    let two = Two::new().await;
    let (status, body) = two.user.ask(Method::POST, "/v1/environments/far/stop?ignored=1", Body::empty()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert_eq!((two.a.state().operations.len(), two.b.state().operations.len()), (0, 1));
    // The answer of `b`, which is the one that knows of an operation.
    let (status, body) = two.user.ask(Method::GET, "/v1/environments/far", Body::empty()).await;
    assert_eq!((status, &body["operation"]["kind"]), (StatusCode::OK, &json!("down")));
    let request = Request::head("/v1/environments/far").header("host", "x").body(Body::empty()).unwrap();
    assert_eq!(two.user.send(request).await.status(), StatusCode::OK);

    let (status, _) = two.user.ask(Method::POST, "/v1/environments/store/stop", Body::empty()).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!((two.a.state().operations.len(), two.b.state().operations.len()), (1, 1));
    for target in ["/v1/environments", "/v1/operations", "/v1/info", "/v1/images", "/v1/conflicts?environment=far"] {
        two.b.refuse(Refusal::internal("nobody should ask this host"));
        assert_eq!(two.user.ask(Method::GET, target, Body::empty()).await.0, StatusCode::OK, "{target}");
    }
}

#[tokio::test]
async fn a_name_written_in_another_way_is_the_same_and_what_is_no_name_is_refused_here() {
    let two = Two::new().await;
    assert_eq!(two.user.ask(Method::POST, "/v1/environments/f%61r/start", "").await.0, StatusCode::ACCEPTED);
    assert_eq!(two.b.state().operations.len(), 1);
    for target in ["/v1/environments/FAR/start", "/v1/environments/%ff/start", "/v1/environments/a%2Fb/start"] {
        assert_eq!(two.user.ask(Method::POST, target, "").await.0, StatusCode::BAD_REQUEST, "{target}");
    }
    assert_eq!(two.user.ask(Method::POST, "/v1/environments/far/fly", "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn refusals_come_back_as_they_were_said() {
    let two = Two::new().await;
    two.b.refuse(Refusal::conflict("it is in the way"));
    let (status, body) = two.user.ask(Method::POST, "/v1/environments/far/start", "").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(error_of(body).message, "it is in the way");
}

#[tokio::test]
async fn a_body_goes_through_piece_by_piece_and_a_clone_is_made_where_its_source_is() {
    let two = Two::new().await;
    let pieces: Vec<Bytes> = (0..600_u32).map(|n| Bytes::from(vec![n as u8; 10_007])).collect();
    let whole: Vec<u8> = pieces.concat();
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)));
    let (status, body) =
        two.user.ask(Method::PUT, "/v1/environments/far/machines/web/file?path=/x&mode=600", body).await;
    assert_eq!((status, &body["size-bytes"]), (StatusCode::OK, &json!(whole.len())));
    assert_eq!(two.b.state().files["/x"], (Some(0o600), whole.clone()));
    assert!(two.a.state().files.is_empty());

    let request = Request::get("/v1/environments/far/machines/web/file?path=/x").body(Body::empty()).unwrap();
    let response = two.user.send(request).await;
    assert_eq!(response.headers()["content-length"], whole.len().to_string().as_str());
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, whole);

    let request = json!({ "name": "copy-of-far" }).to_string();
    assert_eq!(two.user.ask(Method::POST, "/v1/environments/far/clone", request).await.0, StatusCode::ACCEPTED);
    assert!(two.a.state().cloned.is_none() && two.b.state().cloned.is_some());
}

#[tokio::test]
async fn an_environment_is_made_where_the_host_that_was_asked_says() {
    let two = Two::new().await;
    let order = json!({ "file": "name: new", "owner": "me" }).to_string();
    *two.a_knows.creates.lock().unwrap() = Some(at("b", two.b_address, true));
    // Wherever `b` would have it made: it has been decided.
    *two.b_knows.creates.lock().unwrap() = Some(at("a", nobody().await, true));
    let (status, body) = two.user.ask(Method::POST, "/v1/environments", order.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert!(two.a.state().ordered.is_none());
    assert_eq!(two.b.state().ordered.as_ref().unwrap().extras.owner.as_deref(), Some("me"));

    let (status, body) = two.user.ask(Method::POST, "/v1/environments", "{").await;
    assert_eq!((status, error_of(body).kind), (StatusCode::BAD_REQUEST, ErrorKind::Invalid));
    let (status, _) = two.user.ask(Method::POST, "/v1/environments", vec![b' '; 5 << 20]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);

    *two.a_knows.creates.lock().unwrap() = Some(at("b", two.b_address, false));
    let (status, body) = two.user.ask(Method::POST, "/v1/environments", order.clone()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(error_of(body).message.contains("host b, which does not answer"));

    *two.a_knows.creates.lock().unwrap() = None;
    assert_eq!(two.user.ask(Method::POST, "/v1/environments", order).await.0, StatusCode::ACCEPTED);
    assert!(two.a.state().ordered.is_some());
}

#[tokio::test]
async fn of_an_absent_host_records_are_read_here_and_all_else_is_refused() {
    let two = Two::new().await;
    two.b.refuse(Refusal::internal("nobody should ask this host"));
    two.a_knows.put("far", at("b", two.b_address, false));
    for rest in ["", "/acl", "/addresses", "/fence", "/gateway", "/snapshots"] {
        let target = format!("/v1/environments/far{rest}");
        assert_eq!(two.user.ask(Method::GET, &target, "").await.0, StatusCode::OK, "{target}");
    }
    for (method, rest) in [
        (Method::POST, "/start"),
        (Method::DELETE, ""),
        (Method::PUT, "/fence"),
        (Method::DELETE, "/expiry"),
        (Method::GET, "/machines/web/console/tail"),
        (Method::GET, "/machines/web/file?path=/x"),
    ] {
        let error = two.user.refused(method, &format!("/v1/environments/far{rest}")).await;
        assert_eq!(error.message, "far is on host b, which does not answer; nothing was done");
        assert!(error.hint.unwrap().contains("wardian host ls"));
    }
    assert!(two.a.state().operations.is_empty());
}

#[tokio::test]
async fn two_hosts_that_disagree_do_not_send_a_request_round() {
    let two = Two::new().await;
    two.b_knows.put("far", at("c", nobody().await, true));
    let error = two.user.refused(Method::POST, "/v1/environments/far/start").await;
    assert_eq!(error.message, "far is on host c by now");
    assert!(two.a.state().operations.is_empty() && two.b.state().operations.is_empty());
    // What needs records alone is answered by whoever is asked.
    two.b.insert(environment("only-b-knows", None));
    two.a_knows.put("only-b-knows", at("b", two.b_address, true));
    two.b_knows.put("only-b-knows", at("c", nobody().await, true));
    assert_eq!(two.user.ask(Method::GET, "/v1/environments/only-b-knows", "").await.0, StatusCode::OK);

    // Nor is one carried that says it was.
    let request = Request::post("/v1/environments/far/start").header("wardian-carried", "1").body(Body::empty());
    assert_eq!(two.user.send(request.unwrap()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(two.b.state().operations.is_empty());
}

#[tokio::test]
async fn a_host_that_is_not_there_is_named_with_the_cause_also_to_who_sends_much() {
    let two = Two::new().await;
    two.a_knows.put("far", at("b", nobody().await, true));
    let error = two.user.refused(Method::POST, "/v1/environments/far/start").await;
    assert!(error.message.starts_with("host b can't be reached at 127.0.0.1:"), "{}", error.message);
    assert!(error.message.contains("refused"), "{}", error.message);
    assert!(error.hint.unwrap().contains("wardian host ls"));
    let target = "/v1/environments/far/machines/web/file?path=/x";
    let (status, body) = two.user.ask(Method::PUT, target, vec![7; 8 << 20]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(error_of(body).message.contains("host b"));
}

/// A peer that says this, and hangs up.
async fn saying(words: &'static [u8]) -> std::net::SocketAddrV4 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("an IPv4 address") };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(words).await;
        }
    });
    address
}

#[tokio::test]
async fn a_host_that_breaks_off_is_named_and_half_an_answer_is_not_taken_for_a_whole_one() {
    let two = Two::new().await;
    for words in [&b""[..], b"HTTP/1.1 200", b"no HTTP at all\r\n\r\n"] {
        two.a_knows.put("far", at("b", saying(words).await, true));
        let error = two.user.refused(Method::POST, "/v1/environments/far/start").await;
        assert!(error.message.starts_with("host b broke off before it had answered: "), "{}", error.message);
    }
    for words in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        two.a_knows.put("far", at("b", saying(words).await, true));
        let request = Request::get("/v1/environments/far/machines/web/file?path=/x").body(Body::empty()).unwrap();
        let response = two.user.send(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(http_body_util::BodyExt::collect(response.into_body()).await.is_err());
    }
    two.a_knows
        .put("far", at("b", saying(b"HTTP/1.1 101 Odd\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n").await, true));
    let error = two.user.refused(Method::POST, "/v1/environments/far/start").await;
    assert!(error.message.starts_with("host b "), "{}", error.message);
}

#[tokio::test]
async fn what_a_removed_environment_was_called_is_answered_by_this_host() {
    let two = Two::new().await;
    let (status, body) = two.user.ask(Method::POST, "/v1/environments/nowhere/start", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    assert!(two.b.state().operations.is_empty());
}
