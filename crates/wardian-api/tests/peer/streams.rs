//! What stays open: consoles in both directions, and events that come while they happen.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    response::sse::{Event, Sse},
    routing::get,
};
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::{Request, Response, StatusCode, body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use wardian_api::peer::{Carrier, carried};

use crate::hosts::{Known, SECRET, Two, User, at, listen, serve, trust};

const SOON: Duration = Duration::from_secs(20);

async fn console(user: &User) -> TokioIo<Upgraded> {
    let request = Request::get("/v1/environments/far/machines/web/console")
        .header("connection", "upgrade")
        .header("upgrade", "wardian-console")
        .body(Body::empty());
    let response = user.send(request.unwrap()).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["upgrade"], "wardian-console");
    TokioIo::new(hyper::upgrade::on(response).await.unwrap())
}

async fn expect(stream: &mut TokioIo<Upgraded>, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    timeout(SOON, stream.read_exact(&mut read)).await.expect("in time").unwrap();
    assert_eq!(read, expected);
}

#[tokio::test]
async fn a_console_goes_both_ways_and_ends_with_either_side() {
    let two = Two::new().await;
    let mut stream = console(&two.user).await;
    expect(&mut stream, b"login: ").await;
    for words in [&b"root\n"[..], &[0, 255, 13, 10], &[b'x'; 100_000]] {
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let mut echo = vec![0; words.len()];
        let both = async { tokio::join!(write.write_all(words), read.read_exact(&mut echo)) };
        let (written, read) = timeout(SOON, both).await.expect("in time");
        written.unwrap();
        read.unwrap();
        assert_eq!(echo, words);
    }
    // The machine's side ends when it is told that nothing more comes.
    stream.shutdown().await.unwrap();
    assert_eq!(timeout(SOON, stream.read(&mut [0])).await.expect("in time").unwrap_or(0), 0);
}

#[tokio::test]
async fn a_daemon_that_stops_ends_the_consoles_it_carries() {
    let two = Two::new().await;
    let mut stream = console(&two.user).await;
    expect(&mut stream, b"login: ").await;
    two.a_ends.cancel();
    assert_eq!(timeout(SOON, stream.read(&mut [0])).await.expect("in time").unwrap_or(0), 0);
}

#[tokio::test]
async fn a_console_without_an_upgrade_is_refused_by_the_host_of_the_machine() {
    let two = Two::new().await;
    let (status, _) = two.user.ask(hyper::Method::GET, "/v1/environments/far/machines/web/console", "").await;
    assert_eq!(status, StatusCode::UPGRADE_REQUIRED);
}

/// A host `b` with a stream of events of an environment, which no route of ours is by now, and `a` before it.
struct Ticking {
    ticks: mpsc::Sender<&'static str>,
    user: User,
    a_ends: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Ticking {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let a_ends = CancellationToken::new();
        let (ticks, receiver) = mpsc::channel(1);
        let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
        let path = "/v1/environments/{environment}/ticks";
        let answer = move || {
            let events = ReceiverStream::new(receiver.lock().unwrap().take().expect("asked once"));
            async move { Sse::new(events.map(|tick| Ok::<_, Infallible>(Event::default().data(tick)))) }
        };
        let b = listen(Router::new().route(path, get(answer)), trust(SECRET), CancellationToken::new()).await;
        let known = Arc::new(Known::default());
        known.put("far", at("b", b, true));
        let a = Router::new().route(path, get(|| async { "this host must not answer" }));
        let a = carried(a, Carrier::new(known, trust(SECRET)), a_ends.clone());
        let user = serve(folder.path(), a, a_ends.clone());
        Self { ticks, user, a_ends, _folder: folder }
    }

    async fn follow(&self) -> Response<Incoming> {
        let request = Request::get("/v1/environments/far/ticks").body(Body::empty()).unwrap();
        let response = self.user.send(request).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response
    }
}

async fn next(response: &mut Response<Incoming>) -> Option<Bytes> {
    let frame = timeout(SOON, response.body_mut().frame()).await.expect("in time");
    frame.map(|frame| frame.unwrap().into_data().unwrap())
}

#[tokio::test]
async fn events_come_while_they_happen() {
    let ticking = Ticking::new().await;
    let mut response = ticking.follow().await;
    for tick in ["one", "two", "three"] {
        // None is sent before the one ahead of it has come.
        ticking.ticks.send(tick).await.unwrap();
        assert_eq!(next(&mut response).await.unwrap(), format!("data: {tick}\n\n"));
    }
    drop(ticking.ticks);
    assert_eq!(next(&mut response).await, None);
}

#[tokio::test]
async fn a_stream_ends_with_the_daemon_that_carries_it() {
    let ticking = Ticking::new().await;
    let mut response = ticking.follow().await;
    ticking.ticks.send("one").await.unwrap();
    assert!(next(&mut response).await.is_some());
    ticking.a_ends.cancel();
    assert_eq!(next(&mut response).await, None);
}

#[tokio::test]
async fn a_user_who_goes_away_ends_the_stream_on_the_other_host() {
    let ticking = Ticking::new().await;
    let mut response = ticking.follow().await;
    ticking.ticks.send("one").await.unwrap();
    assert!(next(&mut response).await.is_some());
    drop(response);
    timeout(SOON, ticking.ticks.closed()).await.expect("the other host notices");
}
