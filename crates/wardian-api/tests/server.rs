//! The server on a real socket: who comes in, how it ends, and that no bytes bring it down. Needs root, for peers
//! with other user ids.

mod simulated;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use simulated::{Host, Simulated};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use wardian_api::server::{Allowed, bind, serve};

const NOBODY: u32 = 65_534;
const GROUP: u32 = 54_321;

struct Running {
    folder: tempfile::TempDir,
    simulated: Arc<Simulated>,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Running {
    fn start(mode: u32, allowed: Allowed) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        // Other users must get as far as the socket.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let simulated = Simulated::new();
        let shutdown = CancellationToken::new();
        let listener = bind(&folder.path().join("s"), mode, Some(GROUP)).expect("this test needs root, for chown");
        let backend = Arc::new(Host(simulated.clone()));
        let server = tokio::spawn(serve(listener, backend, allowed, shutdown.clone()));
        Self { folder, simulated, shutdown, server }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.server).await.expect("the server ends").unwrap();
    }
}

/// What curl gets as another user: the status and the body, or nothing when it can't connect.
async fn curl_as(path: &Path, uid: u32, gid: u32) -> Option<(u16, String)> {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root, to become another user");
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--write-out", "\n%{http_code}", "--unix-socket"])
        .arg(path)
        .arg("http://wardian/v1/info")
        .uid(uid)
        .gid(gid)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("curl is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    output.status.success().then(|| (status.parse().unwrap(), body.to_owned()))
}

#[tokio::test]
async fn strangers_are_refused_in_words_and_members_of_the_group_are_answered() {
    // The socket lets everybody connect, so that the server has to decide.
    let running = Running::start(0o666, Allowed { uids: vec![4242], gids: vec![GROUP] });
    let path = running.path();
    let (status, body) = curl_as(&path, NOBODY, NOBODY).await.unwrap();
    assert_eq!(status, 403, "{body}");
    let body: wardian_api::wire::ErrorBody = serde_json::from_str(&body).unwrap();
    assert_eq!(body.error.kind, wardian_api::wire::ErrorKind::Forbidden);
    assert!(body.error.message.contains("65534") && body.error.hint.is_some());
    assert_eq!(curl_as(&path, NOBODY, GROUP).await.unwrap().0, 200);
    assert_eq!(curl_as(&path, 4242, NOBODY).await.unwrap().0, 200);
    assert_eq!(curl_as(&path, 0, 0).await.unwrap().0, 200);
    running.stop().await;
}

#[tokio::test]
async fn the_sockets_permissions_keep_others_out_before_the_server_sees_them() {
    let running = Running::start(0o660, Allowed { uids: vec![], gids: vec![GROUP] });
    assert_eq!(curl_as(&running.path(), NOBODY, NOBODY).await, None);
    assert_eq!(curl_as(&running.path(), NOBODY, GROUP).await.unwrap().0, 200);
    running.stop().await;
}

/// Sends bytes, then reads until the server has nothing more to say.
async fn exchange(path: &Path, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).await.unwrap();
    // The server may have refused, and closed, before all is sent.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test]
async fn no_bytes_bring_the_server_down() {
    let running = Running::start(0o600, Allowed::default());
    let path = running.path();
    let long_target = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let many_headers = format!("GET /v1/info HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(5000));
    let cases: Vec<Vec<u8>> = vec![
        b"\0\0\0\0\r\n\r\n".to_vec(),
        b"GET /v1/info".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n".to_vec(),
        b"GET http://elsewhere/v1/none HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"GET /v1/environments/\xff HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"GET /v1//../..%2f HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"POST /v1/environments HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST /v1/environments HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\n{".to_vec(),
        b"POST /v1/environments HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{".to_vec(),
        b"POST /v1/check HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"GET /v1/environments/store/machines/web/console HTTP/1.1\r\nhost: x\r\nupgrade: wardian-console\r\n\r\n"
            .to_vec(),
        b"GET /v1/events HTTP/1.1\r\nhost: x\r\nlast-event-id: \xff\r\n\r\n".to_vec(),
        long_target.into_bytes(),
        many_headers.into_bytes(),
        (0..=255_u8).cycle().take(100_000).collect(),
    ];
    for case in cases {
        let answer = exchange(&path, &case).await;
        let text = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        assert!(!text.starts_with("HTTP/1.1 5"), "{:?}: {text}", String::from_utf8_lossy(&case[..case.len().min(60)]));
    }
    let info = exchange(&path, b"GET /v1/info HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(info.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&info));
    running.stop().await;
}

#[tokio::test]
async fn stopping_ends_streams_and_consoles_without_calling_them_complete() {
    let running = Running::start(0o600, Allowed::default());
    running.simulated.happen("store", "one");
    let mut events = UnixStream::connect(running.path()).await.unwrap();
    events.write_all(b"GET /v1/events?follow=true HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut console = UnixStream::connect(running.path()).await.unwrap();
    let head = "GET /v1/environments/store/machines/web/console HTTP/1.1\r\nhost: x\r\n\
                connection: upgrade\r\nupgrade: wardian-console\r\n\r\n";
    console.write_all(head.as_bytes()).await.unwrap();
    let mut idle = UnixStream::connect(running.path()).await.unwrap();
    read_until(&mut events, "one").await;
    assert!(read_until(&mut console, "login: ").await.starts_with("HTTP/1.1 101"));
    running.stop().await;
    let mut rest = String::new();
    events.read_to_string(&mut rest).await.unwrap();
    assert!(!rest.contains("event: end"), "{rest}");
    assert_eq!(console.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
}

async fn read_until(stream: &mut UnixStream, expected: &str) -> String {
    let mut text = String::new();
    while !text.contains(expected) {
        let mut piece = [0; 1024];
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(read > 0, "ended before {expected:?}: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    text
}

#[tokio::test]
async fn an_import_whose_client_goes_away_is_given_up() {
    let running = Running::start(0o600, Allowed::default());
    let mut import = UnixStream::connect(running.path()).await.unwrap();
    let body = r#"{"name":"i","path":"/endless"}"#;
    let head = format!("POST /v1/images HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    import.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut import, "progress").await;
    drop(import);
    for _ in 0..200 {
        if running.simulated.state().given_up == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(running.simulated.state().given_up, 1);
    running.stop().await;
}
