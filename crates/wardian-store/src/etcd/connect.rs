//! Connections to one member: how they are made, and why one can't be.
//!
//! They are made here and not by tonic, for two reasons: a certificate that is refused is told from an address at which
//! nobody listens, and a peer that acknowledges nothing is given up by the kernel (`TCP_USER_TIMEOUT`), not after
//! minutes.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{AlertDescription, ClientConfig, Error as TlsError, RootCertStore, crypto};
use tonic::transport::{Channel, Endpoint};

use super::config::{Address, EtcdTls};
use crate::error::CertificateFault;

/// How often an idle connection on which something is waited for is tried. etcd hangs up on who tries more often than
/// every 5 s (`--grpc-keepalive-min-time`).
const PING: Duration = Duration::from_secs(6);
/// How long a peer may take to answer that, and to acknowledge what was sent.
const PONG: Duration = Duration::from_secs(3);

/// A stream of bytes in both directions.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// Nobody there, or nobody who speaks TLS.
    #[error("{0}")]
    Unreachable(io::Error),
    /// A certificate is refused.
    #[error("{text}")]
    Certificate { fault: CertificateFault, text: String },
}

/// Makes connections to one address.
#[derive(Clone)]
pub(super) struct Connector {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    /// For one address; `tls` is what [`tls_config`] made, for the addresses that need it.
    pub(super) fn new(address: Address, tls: Option<&Arc<ClientConfig>>) -> Result<Self, ConnectError> {
        let tls = match (&address, tls) {
            (Address::Tcp { host, tls: true, .. }, Some(config)) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| unusable(format!("no certificate can name the host {host}")))?;
                Some((TlsConnector::from(Arc::clone(config)), name))
            }
            _ => None,
        };
        Ok(Self { address, tls })
    }

    /// A channel for calls, which connects when there is something to call and again when a connection is lost.
    pub(super) fn channel(&self) -> Channel {
        let (scheme, authority) = match &self.address {
            Address::Tcp { host, port, tls } => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                (if *tls { "https" } else { "http" }, format!("{host}:{port}"))
            }
            // A path is no authority, and Go's HTTP insists on one.
            Address::Unix(_) => ("http", "localhost".to_owned()),
        };
        // An address that can't be written as one is refused by the connector, which tries to resolve it.
        let uri = format!("{scheme}://{authority}").parse();
        let endpoint = Endpoint::from_static("http://localhost");
        let endpoint = match uri {
            Ok(uri) => endpoint.origin(uri),
            Err(_) => endpoint,
        };
        let endpoint = endpoint.http2_keep_alive_interval(PING).keep_alive_timeout(PONG);
        let connector = self.clone();
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
            let connector = connector.clone();
            async move { connector.connect().await.map(TokioIo::new) }
        }))
    }

    async fn connect(&self) -> Result<Box<dyn Io>, ConnectError> {
        match &self.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(ConnectError::Unreachable)?;
                Ok(Box::new(stream))
            }
            Address::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(ConnectError::Unreachable)?;
                prepare(&stream).map_err(ConnectError::Unreachable)?;
                match &self.tls {
                    None => Ok(Box::new(stream)),
                    Some((tls, name)) => match tls.connect(name.clone(), stream).await {
                        Ok(stream) => Ok(Box::new(stream)),
                        Err(error) => Err(judge(error)),
                    },
                }
            }
        }
    }

    /// Why the other side hangs up, if that is our certificate. With TLS 1.3 it says so after the handshake, when a
    /// call is already under way, and the call only learns that the connection is gone. Here nothing is called, and so
    /// the reason is all there is to read.
    pub(super) async fn refusal(&self) -> Option<ConnectError> {
        self.tls.as_ref()?;
        let read = async {
            match self.connect().await {
                Ok(mut stream) => stream.read_u8().await.err().map(judge),
                Err(error) => Some(error),
            }
        };
        let refused = tokio::time::timeout(PONG, read).await.ok().flatten();
        refused.filter(|error| matches!(error, ConnectError::Certificate { .. }))
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let millis = u32::try_from((PING + PONG).as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, TcpUserTimeout, &millis)?;
    Ok(())
}

/// Whether a certificate is the reason for a TLS connection's end, and whose.
fn judge(error: io::Error) -> ConnectError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<TlsError>());
    let fault = match cause {
        Some(TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented) => CertificateFault::Theirs,
        Some(TlsError::AlertReceived(alert)) if is_about_certificates(*alert) => CertificateFault::Ours,
        _ => return ConnectError::Unreachable(error),
    };
    ConnectError::Certificate { fault, text: error.to_string() }
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}

/// Reads the certificates and makes of them what connections need. Blocks for as long as the files take.
pub(super) fn tls_config(tls: &EtcdTls) -> Result<Arc<ClientConfig>, ConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca)? {
        roots.add(certificate).map_err(|error| unusable(format!("{}: {error}", tls.ca.display())))?;
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(&read(&identity.key)?)
                .map_err(|error| unusable(format!("{}: {error}", identity.key.display())))?;
            let chain = certificates(&identity.certificate)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(format!("{}: {error}", identity.certificate.display())))?
        }
    };
    config.alpn_protocols.push(b"h2".to_vec());
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let pem = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(unusable(format!("{} holds no certificate", path.display()))),
        Err(error) => Err(unusable(format!("{}: {error}", path.display()))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    fs::read(path).map_err(|error| unusable(format!("{}: {error}", path.display())))
}

fn unusable(text: String) -> ConnectError {
    ConnectError::Certificate { fault: CertificateFault::Unusable, text }
}
