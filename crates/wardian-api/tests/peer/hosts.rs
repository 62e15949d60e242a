//! Two hosts: `a`, which users ask on its unix socket, and `b`, which `a` takes requests to.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use axum::{Router, body::Body};
use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, UnixStream};
use tokio_util::sync::CancellationToken;
use wardian_api::{
    peer::{self, Carrier, Credentials, Elsewhere, Trust, Whereabouts},
    routes,
    server::{Allowed, bind, serve_router},
    wire::{ApiError, ErrorBody, UpRequest},
};
use wardian_model::name::{EnvironmentName, MachineName};
use wardian_vault::Vault;

use crate::simulated::{Host, Simulated, environment, name};

pub(crate) const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What a test says about where things are.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) environments: Mutex<BTreeMap<EnvironmentName, Elsewhere>>,
    pub(crate) creates: Mutex<Option<Elsewhere>>,
}

impl Known {
    pub(crate) fn put(&self, environment: &str, elsewhere: Elsewhere) {
        self.environments.lock().unwrap().insert(name(environment), elsewhere);
    }
}

#[async_trait]
impl Whereabouts for Known {
    async fn elsewhere(&self, environment: &EnvironmentName, _machine: Option<&MachineName>) -> Option<Elsewhere> {
        self.environments.lock().unwrap().get(environment).cloned()
    }

    async fn creates(&self, request: &UpRequest) -> Option<Elsewhere> {
        assert!(!request.file.is_empty());
        self.creates.lock().unwrap().clone()
    }
}

pub(crate) fn at(host: &str, peer: SocketAddrV4, present: bool) -> Elsewhere {
    Elsewhere { host: name(host), peer, present }
}

pub(crate) fn trust(secret: &str) -> Trust {
    Trust::load(&Credentials { secret: secret.to_owned(), tls: None }).unwrap()
}

/// A daemon's peer side: these routes, at a port that the kernel chose.
pub(crate) async fn listen(router: Router, trust: Trust, shutdown: CancellationToken) -> SocketAddrV4 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("an IPv4 address") };
    tokio::spawn(peer::serve(listener, router, trust, shutdown));
    address
}

/// A port at which nobody listens.
pub(crate) async fn nobody() -> SocketAddrV4 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("an IPv4 address") };
    address
}

/// A daemon's user side: its socket.
pub(crate) fn serve(folder: &Path, router: Router, shutdown: CancellationToken) -> User {
    let path = folder.join("s");
    let listener = bind(&path, 0o600, None).unwrap();
    tokio::spawn(serve_router(listener, router, Allowed::default(), shutdown));
    User { path }
}

/// `a` and `b`; the environment `far` is on `b`, and `a` has a record of it.
pub(crate) struct Two {
    pub(crate) a: Arc<Simulated>,
    pub(crate) b: Arc<Simulated>,
    pub(crate) a_knows: Arc<Known>,
    pub(crate) b_knows: Arc<Known>,
    pub(crate) b_address: SocketAddrV4,
    pub(crate) user: User,
    pub(crate) a_ends: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Two {
    pub(crate) async fn new() -> Self {
        Self::trusting(trust(SECRET), trust(SECRET)).await
    }

    pub(crate) async fn trusting(a_trust: Trust, b_trust: Trust) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Simulated::new(), Simulated::new());
        for host in [&a, &b] {
            host.insert(environment("far", None));
        }
        let (a_knows, b_knows) = (Arc::new(Known::default()), Arc::new(Known::default()));
        let (a_ends, b_ends) = (CancellationToken::new(), CancellationToken::new());

        let carrier = Carrier::new(b_knows.clone(), b_trust.clone());
        let b_router = routes::cluster_router(Arc::new(Host(b.clone())), carrier, b_ends.clone());
        let vault = Vault::open(folder.path().join("vault")).unwrap();
        let b_address = listen(peer::router(b_router, vault), b_trust, b_ends).await;
        a_knows.put("far", at("b", b_address, true));

        let carrier = Carrier::new(a_knows.clone(), a_trust);
        let a_router = routes::cluster_router(Arc::new(Host(a.clone())), carrier, a_ends.clone());
        let user = serve(folder.path(), a_router, a_ends.clone());
        Self { a, b, a_knows, b_knows, b_address, user, a_ends, _folder: folder }
    }
}

/// Who asks a daemon on its socket.
pub(crate) struct User {
    path: PathBuf,
}

impl User {
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Incoming> {
        let stream = UnixStream::connect(&self.path).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.unwrap()
    }

    pub(crate) async fn ask(&self, method: Method, target: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(target).header("host", "wardian").body(body.into());
        let response = self.send(request.unwrap()).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
    }

    /// Asks for something that is refused because it can't be had now.
    pub(crate) async fn refused(&self, method: Method, target: &str) -> ApiError {
        let (status, body) = self.ask(method, target, Body::empty()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        error_of(body)
    }
}

pub(crate) fn error_of(body: Value) -> ApiError {
    serde_json::from_value::<ErrorBody>(body).expect("an error body").error
}
