//! Routes of images: list, import with progress, remove.

use std::path::Path;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use futures::StreamExt as _;
use wardian_model::name::ImageName;

use super::{
    Shared,
    extract::{Named, Sent},
    failure::Failure,
};
use crate::{
    backend::{ImportOrder, ImportState},
    sse::{self, Message, SourceEnd},
    wire::{ErrorBody, Image, ImageList, ImportProgress, ImportRequest},
};

impl Message for ImportProgress {
    const NAME: &'static str = "progress";

    fn is_last(&self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

impl From<ImportState> for ImportProgress {
    fn from(state: ImportState) -> Self {
        match state {
            ImportState::Doing { step, percent } => Self::Doing { step, percent },
            ImportState::Done(image) => Self::Done { image: image.into() },
        }
    }
}

/// All images
///
/// In the order of their names.
#[utoipa::path(get, path = "/v1/images", tag = "images",
    responses((status = 200, body = ImageList), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn list_images(State(app): Shared) -> Result<Json<ImageList>, Failure> {
    let images = app.backend.images().await?;
    Ok(Json(ImageList { images: images.into_iter().map(Image::from).collect() }))
}

/// Import an image
///
/// A stream of server-sent events: `progress`, the last of which carries the image, then `end`; or `error` with an
/// error body. Closing the connection gives the import up.
#[utoipa::path(post, path = "/v1/images", tag = "images", request_body = ImportRequest,
    responses((status = 200, body = ImportProgress, content_type = "text/event-stream"),
        (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn import_image(State(app): Shared, Sent(request): Sent<ImportRequest>) -> Result<Response, Failure> {
    let files = [Some(&request.path), request.kernel.as_ref(), request.initrd.as_ref()];
    if let Some(path) = files.into_iter().flatten().find(|path| !Path::new(path).is_absolute() || path.contains('\0')) {
        return Err(Failure::invalid(format!("the path {path:?} is not absolute"))
            .hint("paths are on the daemon's host, where the current folder is another one"));
    }
    if request.kernel.is_none() && (request.initrd.is_some() || request.command_line.is_some()) {
        return Err(Failure::invalid("`initrd` and `command-line` belong to a `kernel`, and there is none"));
    }
    let order = ImportOrder {
        name: ImageName::new(request.name).map_err(Failure::invalid)?,
        path: request.path,
        kernel: request.kernel,
        initrd: request.initrd,
        command_line: request.command_line,
    };
    let progress = app.backend.import_image(order).await?;
    let progress = progress.map(|state| state.map(ImportProgress::from)).boxed();
    Ok(sse::answer(progress, SourceEnd::Interrupted, &app.ending))
}

/// Remove an image
#[utoipa::path(delete, path = "/v1/images/{image}", tag = "images",
    params(("image" = String, Path, description = "Its name")),
    responses((status = 204, description = "Removed"), (status = "default", description = "Refused", body = ErrorBody)))]
pub(super) async fn remove_image(State(app): Shared, Named(name): Named<ImageName>) -> Result<StatusCode, Failure> {
    app.backend.remove_image(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
