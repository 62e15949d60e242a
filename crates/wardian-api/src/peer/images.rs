//! What other hosts may ask for beside the routes of users: the files of images, as they are in the vault.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio_util::io::ReaderStream;
use wardian_vault::{Digest, Part, Vault, VaultError};

use crate::{
    routes::{Failure, Named},
    wire::ErrorKind,
};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// The routes for peers: `users` are those under `/v1`, of a cluster's host.
pub fn router(users: Router, vault: Vault) -> Router {
    users.merge(Router::new().route("/peer/images/{digest}/{file}", get(file)).with_state(Arc::new(vault)))
}

/// Where a file of an image is asked for.
pub(super) fn target(digest: &Digest, part: Part) -> String {
    format!("/peer/images/{digest}/{part}")
}

async fn file(
    State(vault): State<Arc<Vault>>,
    Named((digest, file)): Named<(String, String)>,
) -> Result<Response, Failure> {
    // Only what is a digest and the name of a part gets near a path.
    let digest: Digest = digest.parse().map_err(Failure::invalid)?;
    let missing = || Failure::new(ErrorKind::NotFound, format!("the image {digest} has no file {file:?} here"));
    let part = Part::from_file_name(&file).ok_or_else(missing)?;
    let failed = |error: &dyn std::fmt::Display| Failure::new(ErrorKind::Internal, format!("{digest}/{part}: {error}"));
    let found = tokio::task::spawn_blocking(move || vault.part(&digest, part)).await.map_err(|error| failed(&error))?;
    let path = match found {
        Ok(Some(path)) => path,
        Ok(None) | Err(VaultError::NoImage { .. }) => return Err(missing()),
        Err(error) => return Err(failed(&error)),
    };
    let file = match tokio::fs::File::open(&path).await {
        // Removed since it was found.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        opened => opened.map_err(|error| failed(&error))?,
    };
    let size = file.metadata().await.map_err(|error| failed(&error))?.len();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, size.into());
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(file, PIECE))).into_response())
}
