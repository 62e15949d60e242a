//! Reads what a refusal left unread of a request's body.
//!
//! A unix socket that is closed while something unread is in it makes the sender fail before it reads the answer:
//! whoever sends a large file to a machine that isn't there would see a broken connection, not the reason.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// How much is read and thrown away, in bytes; somewhat more than the largest body that would have been taken.
const MOST: u64 = super::LARGEST_FILE + (64 << 20);

/// How long that may take.
const LONGEST: Duration = Duration::from_secs(5);

/// A body that comes back when it is dropped before its end.
struct Lent {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // Nobody wants it when the request itself was dropped.
            let _ = back.send(std::mem::take(&mut self.body));
        }
    }
}

/// Lets the request be answered; after a refusal, reads the rest of its body.
pub(super) async fn read_leftovers(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (sender, mut receiver) = oneshot::channel();
    let request = request.map(|body| Body::new(Lent { body, back: Some(sender) }));
    let response = next.run(request).await;
    if (response.status().is_client_error() || response.status().is_server_error())
        && let Ok(body) = receiver.try_recv()
    {
        // Whoever is slower, or sends more, doesn't get to see the reason.
        let _ = tokio::time::timeout(LONGEST, discard(body)).await;
    }
    response
}

async fn discard(mut body: Body) {
    let mut total = 0;
    while let Some(Ok(frame)) = body.frame().await {
        total += frame.data_ref().map_or(0, |data| data.len() as u64);
        if total > MOST {
            return;
        }
    }
}
