//! Reading an event stream (the HTML standard's "server-sent events", the parts the daemon uses).
//!
//! A stream of the daemon says how it ends: with the event `end` when nothing more will come, with `error` and an
//! error body when something went wrong. A connection that ends without either was interrupted.

use futures::stream;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use wardian_api::wire::ErrorBody;

use crate::{ClientError, Messages, transport::Transport};

/// The longest event that is taken, in bytes; a daemon's are far below it.
const LONGEST: usize = 16 << 20;

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Frame {
    name: String,
    data: String,
}

/// Makes events of bytes that arrive in arbitrary pieces.
#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no complete line.
    seen: usize,
    frame: Frame,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete event.
    fn next(&mut self) -> Option<Frame> {
        let mut start = 0;
        while let Some(length) = self.buffer[start.max(self.seen)..].iter().position(|&byte| byte == b'\n') {
            let end = start.max(self.seen) + length;
            let line = String::from_utf8_lossy(&self.buffer[start..end]);
            let line = line.strip_suffix('\r').unwrap_or(&line);
            start = end + 1;
            if line.is_empty() {
                if !self.frame.data.is_empty() || !self.frame.name.is_empty() {
                    self.buffer.drain(..start);
                    self.seen = 0;
                    return Some(std::mem::take(&mut self.frame));
                }
            } else if let Some((field, value)) = line.split_once(':') {
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => self.frame.name = value.to_owned(),
                    "data" if self.frame.data.is_empty() => self.frame.data.push_str(value),
                    "data" => {
                        self.frame.data.push('\n');
                        self.frame.data.push_str(value);
                    }
                    // Comments keep the connection alive; ids are in the data.
                    _ => {}
                }
            }
        }
        self.buffer.drain(..start);
        self.seen = self.buffer.len();
        None
    }
}

/// The messages in the body of an answer, until it says that it ends.
pub(crate) fn messages<'a, T: DeserializeOwned + Send + 'a>(
    transport: &'a Transport,
    body: Incoming,
) -> Messages<'a, T> {
    Box::pin(stream::try_unfold(Some((body, Parser::default())), move |state| async move {
        let Some((mut body, mut parser)) = state else { return Ok(None) };
        loop {
            if let Some(frame) = parser.next() {
                match frame.name.as_str() {
                    "end" => return Ok(None),
                    "error" => {
                        let body: ErrorBody = transport.decode(frame.data.as_bytes())?;
                        return Err(ClientError::Refused(body.error));
                    }
                    _ => {
                        let message = transport.decode(frame.data.as_bytes())?;
                        return Ok(Some((message, Some((body, parser)))));
                    }
                }
            }
            if parser.buffer.len() + parser.frame.data.len() > LONGEST {
                return Err(transport.protocol("an event without an end"));
            }
            let piece = body.frame().await.ok_or_else(|| transport.interrupted())?;
            let piece = piece.map_err(|error| transport.broken(&error))?;
            if let Ok(bytes) = piece.into_data() {
                parser.push(&bytes);
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<Frame> {
        let mut parser = Parser::default();
        let mut frames = Vec::new();
        for piece in pieces {
            parser.push(piece);
            frames.extend(std::iter::from_fn(|| parser.next()));
        }
        frames
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let text =
            "id: 7\nevent: event\ndata: {\"a\":\ndata: \"ä\"}\n\n: still here\n\nevent: end\r\ndata\r\n\r\n".as_bytes();
        let whole = all(&[text]);
        assert_eq!(whole.len(), 2);
        assert_eq!(whole[0], Frame { name: "event".to_owned(), data: "{\"a\":\n\"ä\"}".to_owned() });
        assert_eq!(whole[1].name, "end");
        for cut in 0..text.len() {
            assert_eq!(all(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
        assert_eq!(all(&text.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn an_event_without_its_empty_line_is_not_there_yet() {
        assert_eq!(all(&[b"event: end\ndata: {}\n"]), []);
    }
}
