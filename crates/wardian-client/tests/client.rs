//! The client against the real server, on a simulated host.

#[path = "../../wardian-api/tests/simulated/mod.rs"]
mod simulated;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use simulated::{Host, Simulated};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use wardian_api::{
    backend::Refusal,
    server::{Allowed, bind, serve},
};
use wardian_client::{
    Client, ClientError, EventOptions, Patience,
    wire::{
        CloneRequest, Content, ErrorKind, ExecRequest, ExposeRequest, Fence, ImportProgress, ImportRequest,
        OperationState, Protocol, RestoreRequest, SnapshotRequest, UnexposeQuery, UpRequest,
    },
};

const LONG: Patience = Patience(Duration::from_secs(30));

struct Daemon {
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Daemon {
    fn start(path: &Path, simulated: &Arc<Simulated>) -> Self {
        let shutdown = CancellationToken::new();
        let listener = bind(path, 0o600, None).unwrap();
        let backend = Arc::new(Host(simulated.clone()));
        let server = tokio::spawn(serve(listener, backend, Allowed::default(), shutdown.clone()));
        Self { shutdown, server }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.server).await.expect("the server ends").unwrap();
    }
}

struct World {
    _folder: tempfile::TempDir,
    path: PathBuf,
    simulated: Arc<Simulated>,
    daemon: Daemon,
    client: Client,
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let simulated = Simulated::new();
    let daemon = Daemon::start(&path, &simulated);
    let client = Client::connect(&path).await.unwrap();
    World { _folder: folder, path, simulated, daemon, client }
}

async fn next<T>(stream: &mut (impl Stream<Item = Result<T, ClientError>> + Unpin)) -> Option<Result<T, ClientError>> {
    tokio::time::timeout(Duration::from_secs(30), stream.next()).await.expect("something comes")
}

#[tokio::test]
async fn each_method_asks_its_route() {
    let World { client, simulated, .. } = &world().await;
    assert_eq!(client.info().await.unwrap().api_version, 1);
    assert!(client.host_report().await.unwrap().ok());
    let names: Vec<_> = client.environments().await.unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["copy", "store"]);
    assert_eq!(client.environment("store").await.unwrap().machines.len(), 2);

    let file = UpRequest { file: "name: new".to_owned(), name: Some("other".to_owned()), ..UpRequest::default() };
    assert_eq!(client.check(&file).await.unwrap().name, "other");
    let accepted = client.up(&file).await.unwrap();
    assert_eq!((accepted.operation.environment.as_str(), accepted.warnings.len()), ("other", 1));
    assert_eq!(client.start("store").await.unwrap().kind.word(), "start");
    assert_eq!(client.stop("store").await.unwrap().kind.word(), "down");
    assert_eq!(client.suspend("store").await.unwrap().kind.word(), "suspend");
    assert_eq!(client.remove("store").await.unwrap().kind.word(), "rm");
    assert_eq!(client.operations().await.unwrap().len(), 5);
    let clones = CloneRequest { name: "class".to_owned(), count: Some(2), ..CloneRequest::default() };
    assert_eq!(client.clone_environment("store", &clones).await.unwrap().clones.len(), 2);

    let request = SnapshotRequest { name: "clean".to_owned(), memory: true };
    assert_eq!(client.snapshot("store", &request).await.unwrap().kind.word(), "snapshot");
    assert_eq!(client.snapshots("store").await.unwrap().snapshots[0].name, "clean");
    let request = RestoreRequest { snapshot: "clean".to_owned(), of: Some("store".to_owned()) };
    assert_eq!(client.restore("copy", &request).await.unwrap().kind.word(), "restore");
    client.remove_snapshot("store", "clean").await.unwrap();
    assert_eq!(client.remove_snapshot("store", "cl/ean").await.unwrap_err().kind(), Some(ErrorKind::Invalid));
    assert_eq!(client.set_fence("store", Fence::Sealed).await.unwrap().fence, Fence::Sealed);
    assert_eq!(client.fence("store").await.unwrap().fence, Fence::Sealed);
    assert_eq!(client.set_gateway("store", "host".to_owned()).await.unwrap().gateway, "host");
    assert_eq!(client.gateway("store").await.unwrap().gateway, "host");
    client.set_gateway("store", "per-machine".to_owned()).await.unwrap();
    assert!(client.set_expiry("store", Some(60_000)).await.unwrap().expires.is_some());
    assert_eq!(client.set_expiry("store", None).await.unwrap().expires, None);
    assert!(!client.conflicts(&["store", "copy"]).await.unwrap().conflicts.is_empty());

    assert_eq!(client.addresses("store", None).await.unwrap().addresses.len(), 2);
    assert_eq!(
        client.addresses("store", Some("web")).await.unwrap().addresses[0].outside.as_ref().unwrap().address,
        "10.86.0.1"
    );
    let expose = ExposeRequest { machine: "web".to_owned(), port: 53, protocol: Protocol::Udp, at: None };
    assert_eq!(client.expose("store", &expose).await.unwrap().at, 20_000);
    let port = |port| UnexposeQuery { machine: "web".to_owned(), port, protocol: Protocol::Tcp };
    client.unexpose("store", &port(80)).await.unwrap();
    assert_eq!(client.unexpose("store", &port(81)).await.unwrap_err().kind(), Some(ErrorKind::NotFound));

    let command = ExecRequest {
        command: vec!["sort".to_owned(), "-r".to_owned()],
        stdin: Some(Content::from(vec![0xff, b'a'])),
        ..ExecRequest::default()
    };
    let result = client.exec("store", "web", &command).await.unwrap();
    assert_eq!((result.status, result.stderr), (Some(3), Content::from("sort -r")));
    assert_eq!(result.stdout.into_bytes().unwrap(), [0xff, b'a']);
    assert_eq!(client.console_tail("store", "web", 7).await.unwrap().console, Content::from("login: "));

    assert_eq!(client.images().await.unwrap()[0].name, "micro");
    client.remove_image("micro").await.unwrap();
    assert!(simulated.state().images.is_empty());
}

#[tokio::test]
async fn a_refusal_arrives_whole() {
    let World { client, .. } = &world().await;
    let error = client.environment("none").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no environment none");
    assert_eq!((error.kind(), error.hint()), (Some(ErrorKind::NotFound), Some("see `wardian ls`")));
    let error = client.up(&UpRequest { file: "x".to_owned(), ..UpRequest::default() }).await.unwrap_err();
    assert_eq!(error.details(), ["1 | x"]);
    // A name can't lead to another route.
    let error = client.environment("store/addresses").await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::Invalid), "{error}");
    let error = client.environment("a b?c#d%").await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::Invalid), "{error}");
}

#[tokio::test]
async fn a_missing_daemon_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    for stale in [false, true] {
        if stale {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        }
        let error = Client::connect(&path).await.unwrap_err();
        assert!(matches!(&error, ClientError::NoDaemon { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
        assert!(error.hint().unwrap().contains("wardian daemon"));
    }
}

#[tokio::test]
async fn what_does_not_speak_the_interface_is_told_from_a_daemon_that_stopped() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (answer, expected)) in [
        ("220 mail.example ESMTP\r\n", "doesn't speak"),
        ("HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nno", "status 500"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", "doesn't speak"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{", "ended the connection"),
        ("", "ended the connection"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.path().join(number.to_string());
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let other = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut piece = [0; 1024];
            let _ = stream.read(&mut piece).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let client = Client::connect(&path).await.unwrap();
        let error = client.info().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{answer:?}: {error}");
        other.await.unwrap();
    }
}

#[tokio::test]
async fn following_ends_with_the_operation() {
    let World { client, simulated, .. } = &world().await;
    let id = client.stop("store").await.unwrap().id;
    let mut operation = client.follow(&id, Patience::NONE);
    assert_eq!(next(&mut operation).await.unwrap().unwrap().steps.len(), 0);
    simulated.step(&id, wardian_model::operation::OperationState::Running);
    assert_eq!(next(&mut operation).await.unwrap().unwrap().steps[0].name, "step 1");
    simulated.step(&id, simulated::failed("no luck"));
    let last = next(&mut operation).await.unwrap().unwrap();
    assert_eq!((last.state, last.problem.unwrap().message.as_str()), (OperationState::Failed, "no luck"));
    assert!(next(&mut operation).await.is_none());
    let again: Vec<_> = client.follow(&id, Patience::NONE).try_collect().await.unwrap();
    assert_eq!(again.len(), 1, "an operation that is over is told once");
    let mut unknown = client.follow("0000000000000001", LONG);
    assert_eq!(next(&mut unknown).await.unwrap().unwrap_err().kind(), Some(ErrorKind::NotFound));
}

#[tokio::test]
async fn following_outlives_a_restart_of_the_daemon() {
    let World { client, simulated, daemon, path, _folder } = world().await;
    let id = client.stop("store").await.unwrap().id;
    let mut operation = client.follow(&id, LONG);
    assert!(next(&mut operation).await.unwrap().is_ok());
    daemon.stop().await;
    // It goes on while nobody is there to be asked.
    simulated.step(&id, wardian_model::operation::OperationState::Running);
    let restart = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Daemon::start(&path, &simulated)
    };
    let (daemon, found) = tokio::join!(restart, next(&mut operation));
    assert_eq!(found.unwrap().unwrap().steps.len(), 1);
    simulated.step(&id, simulated::done());
    assert_eq!(next(&mut operation).await.unwrap().unwrap().state, OperationState::Done);
    assert!(next(&mut operation).await.is_none());
    daemon.stop().await;
}

#[tokio::test]
async fn without_patience_an_interruption_is_an_error() {
    let World { client, daemon, _folder, .. } = world().await;
    let id = client.stop("store").await.unwrap().id;
    let mut operation = client.follow(&id, Patience::NONE);
    assert!(next(&mut operation).await.unwrap().is_ok());
    daemon.stop().await;
    let error = next(&mut operation).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Interrupted { .. }), "{error}");
    assert!(next(&mut operation).await.is_none());
    assert!(matches!(client.info().await.unwrap_err(), ClientError::NoDaemon { .. }));
}

#[tokio::test]
async fn events_go_on_after_the_last_one_without_gap_or_repetition() {
    let World { client, simulated, daemon, path, _folder } = world().await;
    simulated.happen("store", "one");
    simulated.happen("copy", "two");
    simulated.happen("store", "three");
    let present: Vec<_> = client.events(EventOptions::default(), Patience::NONE).try_collect().await.unwrap();
    assert_eq!(present.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let options = EventOptions { from: Some(2), follow: true, environment: Some("store".to_owned()) };
    let mut events = client.events(options, LONG);
    assert_eq!(next(&mut events).await.unwrap().unwrap().message, "three");
    simulated.happen("store", "four");
    assert_eq!(next(&mut events).await.unwrap().unwrap().message, "four");
    daemon.stop().await;
    simulated.happen("store", "five");
    let daemon = Daemon::start(&path, &simulated);
    simulated.happen("store", "six");
    assert_eq!(next(&mut events).await.unwrap().unwrap().message, "five");
    assert_eq!(next(&mut events).await.unwrap().unwrap().message, "six");
    daemon.stop().await;
}

#[tokio::test]
async fn an_import_tells_how_far_it_is_and_what_was_wrong() {
    let World { client, simulated, .. } = &world().await;
    let request = |name: &str, path: &str| ImportRequest {
        name: name.to_owned(),
        path: path.to_owned(),
        ..ImportRequest::default()
    };
    let progress: Vec<_> = client.import_image(&request("new", "/disk")).await.unwrap().try_collect().await.unwrap();
    assert_eq!(progress.len(), 3);
    assert!(matches!(&progress[2], ImportProgress::Done { image } if image.name == "new"));
    let taken = client.import_image(&request("new", "/disk")).await.err().unwrap();
    assert_eq!(taken.kind(), Some(ErrorKind::Conflict));
    let mut corrupt = client.import_image(&request("bad", "/corrupt")).await.unwrap();
    assert!(next(&mut corrupt).await.unwrap().is_ok());
    assert_eq!(next(&mut corrupt).await.unwrap().unwrap_err().to_string(), "the disk is corrupt");
    assert!(next(&mut corrupt).await.is_none());
    let mut endless = client.import_image(&request("long", "/endless")).await.unwrap();
    assert!(next(&mut endless).await.unwrap().is_ok());
    drop(endless);
    for _ in 0..200 {
        if simulated.state().given_up == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(simulated.state().given_up, 1, "a dropped stream gives the import up");
}

#[tokio::test]
async fn files_go_both_ways_in_pieces() {
    let World { client, simulated, .. } = &world().await;
    let content: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    let path = "/tmp/ä b&c=d%";
    let written = client.write_file("store", "web", path, Some(0o640), std::io::Cursor::new(content.clone())).await;
    assert_eq!(written.unwrap().size_bytes, 3 << 20);
    assert_eq!(simulated.state().files[path].0, Some(0o640));
    let file = client.read_file("store", "web", path).await.unwrap();
    assert_eq!(file.size, Some(3 << 20));
    let mut read = Vec::new();
    assert_eq!(file.copy_to(&mut read).await.unwrap(), 3 << 20);
    assert!(read == content);
    let error = client.read_file("store", "web", "/none").await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::NotFound));
    // Whether its first bytes still get out is a matter of luck.
    let error = match client.read_file("store", "web", "/breaks-off").await {
        Ok(file) => file.copy_to(Vec::new()).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, ClientError::Interrupted { .. }), "{error}");
}

#[tokio::test]
async fn a_refused_upload_is_told_why() {
    let World { client, .. } = &world().await;
    let upload = |machine: &'static str, path: &'static str, size: u64| async move {
        let content = tokio::io::AsyncReadExt::take(tokio::io::repeat(0), size);
        client.write_file("store", machine, path, None, content).await
    };
    let size = 40 << 20;
    assert_eq!(upload("web", "/full", size).await.unwrap_err().to_string(), "the guest's disk is full");
    assert_eq!(upload("web", "", size).await.unwrap_err().kind(), Some(ErrorKind::Invalid));
    assert_eq!(upload("No_Name", "/x", size).await.unwrap_err().kind(), Some(ErrorKind::Invalid));
    assert_eq!(upload("none", "/x", size).await.unwrap_err().kind(), Some(ErrorKind::NotFound));
    assert_eq!(upload("web", "/dev/null", 257 << 20).await.unwrap_err().kind(), Some(ErrorKind::TooLarge));
    let large = UpRequest { file: "x".repeat(9 << 20), ..UpRequest::default() };
    assert_eq!(client.up(&large).await.unwrap_err().kind(), Some(ErrorKind::TooLarge));
    let broken = FailingReader;
    let error = client.write_file("store", "web", "/x", None, broken).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Content(source) if source.to_string() == "the stick was pulled"),
        "{error:?}"
    );
}

/// A file that can't be read to its end.
struct FailingReader;

impl tokio::io::AsyncRead for FailingReader {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::Error::other("the stick was pulled")))
    }
}

#[tokio::test]
async fn a_console_is_raw_bytes_both_ways() {
    let World { client, .. } = &world().await;
    let mut console = client.console("store", "web").await.unwrap();
    let mut prompt = [0; 7];
    console.read_exact(&mut prompt).await.unwrap();
    assert_eq!(&prompt, b"login: ");
    let all: Vec<u8> = (0..=255).collect();
    console.write_all(&all).await.unwrap();
    let mut echo = [0; 256];
    console.read_exact(&mut echo).await.unwrap();
    assert_eq!(echo.as_slice(), all);
    let error = client.console("store", "none").await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::NotFound));
}

#[tokio::test]
async fn a_refusing_backend_is_passed_on_by_streams_too() {
    let World { client, simulated, .. } = &world().await;
    simulated.refuse(Refusal::unavailable("the store is busy"));
    let mut events = client.events(EventOptions::default(), LONG);
    assert_eq!(next(&mut events).await.unwrap().unwrap_err().kind(), Some(ErrorKind::Unavailable));
    assert!(next(&mut events).await.is_none());
}
