//! Who is let in: only who knows the secret, and with certificates only who holds one of the cluster's authority.

use std::{net::SocketAddrV4, sync::Arc};

use hyper::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::ring::default_provider,
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};
use wardian_api::peer::{Credentials, PeerTls, Trust, TrustError};
use wardian_testkit::etcd::{Certificates, Identity};

use crate::hosts::{SECRET, Two, trust};

const STOP: &str = "/v1/environments/far/stop";

fn with(ca: &Certificates, identity: Identity) -> Credentials {
    let tls = PeerTls { ca: ca.ca(), certificate: identity.certificate, key: identity.key };
    Credentials { secret: SECRET.to_owned(), tls: Some(tls) }
}

fn host(ca: &Certificates, name: &str) -> Trust {
    Trust::load(&with(ca, ca.client(name))).unwrap()
}

/// What is answered to these bytes.
async fn exchange(address: SocketAddrV4, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

fn stop(headers: &str) -> String {
    format!("POST {STOP} HTTP/1.1\r\nhost: b\r\nconnection: close\r\n{headers}\r\n")
}

#[tokio::test]
async fn without_the_secret_nothing_is_answered() {
    let two = Two::new().await;
    for headers in ["".to_owned(), "authorization: Bearer x\r\n".to_owned(), format!("authorization: {SECRET}\r\n")] {
        let answer = exchange(two.b_address, &stop(&headers)).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    for target in ["/v1/info", "/peer/images/x/y", "/nothing"] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n");
        let answer = exchange(two.b_address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{target}: {answer}");
    }
    assert!(two.b.state().operations.is_empty());
    let answer = exchange(two.b_address, &stop(&format!("authorization: Bearer {SECRET}\r\n"))).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

#[tokio::test]
async fn who_says_nothing_takes_no_room_from_others_and_gets_one_guess_for_each_connection() {
    let two = Two::new().await;
    let mut silent = Vec::new();
    for _ in 0..140 {
        silent.push(TcpStream::connect(two.b_address).await.unwrap());
    }
    // All from this address, at which there is no room any more for a host either.
    let error = two.user.refused(Method::POST, STOP).await;
    assert!(error.message.starts_with("host b "), "{}", error.message);
    drop(silent);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while two.user.ask(Method::POST, STOP, "").await.0 != StatusCode::ACCEPTED {
        assert!(tokio::time::Instant::now() < deadline, "there is no room again");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    let guesses = stop("authorization: Bearer x\r\n").replace("connection: close\r\n", "").repeat(2);
    let answer = exchange(two.b_address, &guesses).await;
    assert_eq!(answer.matches("HTTP/1.1 401").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_host_with_another_secret_is_told_so_and_its_user_too() {
    let two = Two::trusting(trust("another"), trust(SECRET)).await;
    let error = two.user.refused(Method::POST, STOP).await;
    assert_eq!(error.message, "host b doesn't take this one for a host of its cluster");
    assert!(error.hint.is_some() && two.b.state().operations.is_empty());
}

#[tokio::test]
async fn hosts_with_certificates_of_one_authority_talk_whatever_their_names() {
    let ca = Certificates::new("the cluster's");
    let two = Two::trusting(host(&ca, "a"), host(&ca, "somebody")).await;
    assert_eq!(two.user.ask(Method::POST, STOP, "").await.0, StatusCode::ACCEPTED);
    assert_eq!(two.b.state().operations.len(), 1);
    // Nor do certificates replace the secret.
    let Credentials { tls, .. } = with(&ca, ca.client("c"));
    let stranger = Trust::load(&Credentials { secret: "another".to_owned(), tls }).unwrap();
    let two = Two::trusting(stranger, host(&ca, "b")).await;
    let error = two.user.refused(Method::POST, STOP).await;
    assert_eq!(error.message, "host b doesn't take this one for a host of its cluster");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_either_side() {
    let (ca, other) = (Certificates::new("the cluster's"), Certificates::new("another"));
    // `a` shows a wrong one, but takes that of `b`.
    let tls = with(&other, other.client("a")).tls.unwrap();
    let tls = Some(PeerTls { ca: ca.ca(), ..tls });
    let wrong = Trust::load(&Credentials { secret: SECRET.to_owned(), tls }).unwrap();
    let two = Two::trusting(wrong, host(&ca, "b")).await;
    let error = two.user.refused(Method::POST, STOP).await;
    assert!(error.message.starts_with("host b "), "{}", error.message);
    assert!(two.b.state().operations.is_empty());

    // `b` is an impostor, to whom `a` says nothing.
    let two = Two::trusting(host(&ca, "a"), host(&other, "b")).await;
    let error = two.user.refused(Method::POST, STOP).await;
    assert!(error.message.contains("certificate"), "{}", error.message);
    assert!(two.b.state().operations.is_empty());
}

#[tokio::test]
async fn a_certificate_for_a_server_alone_is_none_of_a_host() {
    let ca = Certificates::new("the cluster's");
    let server = || Trust::load(&with(&ca, ca.server("etcd", &["127.0.0.1"]))).unwrap();
    for (a, b) in [(server(), host(&ca, "b")), (host(&ca, "a"), server())] {
        let two = Two::trusting(a, b).await;
        let error = two.user.refused(Method::POST, STOP).await;
        assert!(error.message.starts_with("host b "), "{}", error.message);
        assert!(two.b.state().operations.is_empty());
    }
}

#[tokio::test]
async fn with_certificates_on_one_side_only_nothing_is_said() {
    let ca = Certificates::new("the cluster's");
    for (a, b) in [(trust(SECRET), host(&ca, "b")), (host(&ca, "a"), trust(SECRET))] {
        let two = Two::trusting(a, b).await;
        let error = two.user.refused(Method::POST, STOP).await;
        assert!(error.message.starts_with("host b "), "{}", error.message);
        assert!(two.b.state().operations.is_empty());
    }
}

/// Takes whatever certificate the server shows: what is tried here is the server.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn who_shows_no_certificate_gets_no_answer_even_with_the_secret() {
    let ca = Certificates::new("the cluster's");
    let two = Two::trusting(host(&ca, "a"), host(&ca, "b")).await;
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(config));
    let name = ServerName::from(std::net::IpAddr::V4(*two.b_address.ip()));
    // With TLS 1.3 the refusal comes after the client's part of the handshake, and may come too late to be read by who
    // goes on as if nothing were.
    for request in [String::new(), stop(&format!("authorization: Bearer {SECRET}\r\n"))] {
        let stream = TcpStream::connect(two.b_address).await.unwrap();
        let mut stream = tls.connect(name.clone(), stream).await.unwrap();
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let refused = stream.read_to_end(&mut answer).await.unwrap_err();
        assert!(!request.is_empty() || refused.to_string().contains("CertificateRequired"), "{refused}");
        assert!(answer.is_empty() && two.b.state().operations.is_empty());
    }
}

#[test]
fn files_that_are_not_what_they_should_be_are_named() {
    let (ca, other) = (Certificates::new("the cluster's"), Certificates::new("another"));
    let good = with(&ca, ca.client("a")).tls.unwrap();
    let missing = ca.ca().with_file_name("missing.pem");
    let load = |tls: PeerTls| Trust::load(&Credentials { secret: SECRET.to_owned(), tls: Some(tls) }).unwrap_err();
    for tls in [
        PeerTls { ca: missing.clone(), ..good.clone() },
        PeerTls { certificate: missing.clone(), ..good.clone() },
        PeerTls { key: missing.clone(), ..good.clone() },
    ] {
        let error = load(tls);
        assert!(matches!(&error, TrustError::Unreadable { path, .. } if *path == missing), "{error}");
    }
    for tls in [
        PeerTls { ca: good.key.clone(), ..good.clone() },
        PeerTls { certificate: good.key.clone(), ..good.clone() },
        PeerTls { key: good.certificate.clone(), ..good.clone() },
        PeerTls { key: other.client("b").key, ..good.clone() },
    ] {
        let error = load(tls);
        assert!(matches!(error, TrustError::Unusable { .. }), "{error}");
        assert!(error.hint().contains("PEM"));
    }
}
