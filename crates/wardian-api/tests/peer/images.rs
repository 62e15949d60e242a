//! An image comes over from another host's vault byte for byte, or not at all. With the real `qemu-img`.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract,
    routing::get,
};
use futures::stream;
use hyper::{Request, StatusCode};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use wardian_api::{
    peer::{self, FetchError, PeerError, Trust, fetch_image},
    wire::ErrorKind,
};
use wardian_model::name::HostName;
use wardian_testkit::etcd::Certificates;
use wardian_vault::{Digest, Image, ImageParts, Part, ReceiveError, Source, Vault};

use crate::{
    hosts::{SECRET, listen, nobody, trust},
    simulated::name,
};

struct Vaults {
    folder: tempfile::TempDir,
    from: Vault,
    to: Vault,
    image: Image,
}

impl Vaults {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        // Not compressible, and more than is read or sent at once.
        let disk: Vec<u8> = (0..3_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let parts = ImageParts {
            kernel: Some(file("vmlinuz", &[1; 70_000])),
            initrd: Some(file("initrd.img", b"initrd")),
            command_line: Some("quiet".to_owned()),
        };
        let source = Source { disk: file("disk.raw", &disk), format: None, parts };
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let (from, to) = (Vault::open(from).unwrap(), Vault::open(to).unwrap());
        let image = from.import(&source, |_| ()).await.unwrap().image;
        Self { folder, from, to, image }
    }

    async fn fetch(&self, trust: &Trust, there: Trust, digest: Digest) -> Result<Image, FetchError> {
        let routes = peer::router(Router::new(), self.from.clone());
        let address = listen(routes, there, CancellationToken::new()).await;
        fetch_image(trust, &b(), address, digest, &self.to).await
    }

    fn nothing_came(&self) -> bool {
        let unfinished = fs::read_dir(self.folder.path().join("to/tmp")).unwrap().count();
        unfinished == 0 && self.to.list().unwrap().is_empty()
    }
}

fn b() -> HostName {
    name("b")
}

fn content(vault: &Vault, digest: &Digest, part: Part) -> Vec<u8> {
    fs::read(vault.part(digest, part).unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn an_image_comes_over_byte_for_byte() {
    let vaults = Vaults::new().await;
    let digest = vaults.image.digest;
    let image = vaults.fetch(&trust(SECRET), trust(SECRET), digest).await.unwrap();
    assert_eq!(image.virtual_size, vaults.image.virtual_size);
    for part in Part::ALL {
        assert_eq!(content(&vaults.from, &digest, part), content(&vaults.to, &digest, part), "{part}");
    }
    // What is there isn't asked for again.
    let again = fetch_image(&trust(SECRET), &b(), nobody().await, digest, &vaults.to).await.unwrap();
    assert_eq!(again, image);
}

#[tokio::test]
async fn an_image_comes_over_encrypted() {
    let vaults = Vaults::new().await;
    let ca = Certificates::new("the cluster's");
    let host = |name: &str| {
        let identity = ca.client(name);
        let tls = peer::PeerTls { ca: ca.ca(), certificate: identity.certificate, key: identity.key };
        Trust::load(&peer::Credentials { secret: SECRET.to_owned(), tls: Some(tls) }).unwrap()
    };
    let digest = vaults.image.digest;
    vaults.fetch(&host("a"), host("b"), digest).await.unwrap();
    assert_eq!(content(&vaults.from, &digest, Part::Disk), content(&vaults.to, &digest, Part::Disk));
}

fn flip(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    let middle = file.metadata().unwrap().len() / 2;
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], middle).unwrap();
}

#[tokio::test]
async fn an_image_that_is_damaged_there_is_refused_and_nothing_of_it_is_left() {
    let vaults = Vaults::new().await;
    let digest = vaults.image.digest;
    for part in [Part::Disk, Part::Kernel, Part::Initrd] {
        let path = vaults.from.part(&digest, part).unwrap().unwrap();
        flip(&path);
        let error = vaults.fetch(&trust(SECRET), trust(SECRET), digest).await.unwrap_err();
        assert!(matches!(error, FetchError::Receive { source: ReceiveError::Different { .. }, .. }), "{error}");
        assert!(error.to_string().contains("host b") && error.hint().contains("import it again"));
        assert!(vaults.nothing_came());
        flip(&path);
    }
    vaults.fetch(&trust(SECRET), trust(SECRET), digest).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_and_who_does_not_answer_are_told_apart() {
    let vaults = Vaults::new().await;
    let other: Digest = "ab".repeat(32).parse().unwrap();
    let error = vaults.fetch(&trust(SECRET), trust(SECRET), other).await.unwrap_err();
    assert!(matches!(&error, FetchError::Refused { source, .. } if source.kind == ErrorKind::NotFound), "{error}");
    let error = vaults.fetch(&trust("another"), trust(SECRET), vaults.image.digest).await.unwrap_err();
    assert!(matches!(error, FetchError::Peer(PeerError::NotAdmitted { .. })), "{error}");
    let error = fetch_image(&trust(SECRET), &b(), nobody().await, vaults.image.digest, &vaults.to).await.unwrap_err();
    assert!(matches!(error, FetchError::Peer(PeerError::Unreachable { .. })), "{error}");
    assert!(vaults.nothing_came());
}

#[tokio::test]
async fn an_image_that_breaks_off_half_way_leaves_nothing() {
    let vaults = Vaults::new().await;
    let digest = vaults.image.digest;
    let description = content(&vaults.from, &digest, Part::Description);
    let disk = content(&vaults.from, &digest, Part::Disk);
    let file = move |extract::Path((_, file)): extract::Path<(String, String)>| {
        let (description, size) = (description.clone(), disk.len());
        let half = Bytes::copy_from_slice(&disk[..size / 2]);
        async move {
            if file == "image.json" {
                return ([("content-length", description.len().to_string())], Body::from(description));
            }
            let pieces = stream::iter([Ok(half), Err(std::io::Error::other("the cable"))]);
            ([("content-length", size.to_string())], Body::from_stream(pieces))
        }
    };
    let routes = Router::new().route("/peer/images/{digest}/{file}", get(file));
    let address = listen(routes, trust(SECRET), CancellationToken::new()).await;
    let error = fetch_image(&trust(SECRET), &b(), address, digest, &vaults.to).await.unwrap_err();
    let broken = matches!(error, FetchError::Receive { source: ReceiveError::Content { part: Part::Disk, .. }, .. });
    assert!(broken, "{error}");
    assert!(vaults.nothing_came());
}

#[tokio::test]
async fn no_other_file_can_be_had() {
    let vaults = Vaults::new().await;
    let digest = vaults.image.digest;
    let routes = peer::router(Router::new(), vaults.from.clone());
    for (target, status) in [
        (format!("/peer/images/{digest}/image.json"), StatusCode::OK),
        (format!("/peer/images/{digest}/lock"), StatusCode::NOT_FOUND),
        (format!("/peer/images/{digest}/..%2F..%2Flock"), StatusCode::NOT_FOUND),
        (format!("/peer/images/{digest}/%2Fetc%2Fpasswd"), StatusCode::NOT_FOUND),
        (format!("/peer/images/{digest}/disk.qcow2%00"), StatusCode::NOT_FOUND),
        (format!("/peer/images/{}/disk.qcow2", "0".repeat(64)), StatusCode::NOT_FOUND),
        (format!("/peer/images/{}/disk.qcow2", digest.to_string().to_uppercase()), StatusCode::BAD_REQUEST),
        ("/peer/images/%2E%2E/lock".to_owned(), StatusCode::BAD_REQUEST),
        ("/peer/images/../lock".to_owned(), StatusCode::BAD_REQUEST),
        ("/peer/images/%ff/image.json".to_owned(), StatusCode::BAD_REQUEST),
    ] {
        let request = Request::get(&target).body(Body::empty()).unwrap();
        assert_eq!(routes.clone().oneshot(request).await.unwrap().status(), status, "{target}");
    }
}
