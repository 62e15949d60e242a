//! A daemon that only knows canned answers, and remembers what it was asked.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde_json::Value;

/// One request: its method and path, its whole target, its body.
type Request = (String, String, Vec<u8>);

#[derive(Default)]
struct State {
    /// By method and path without query.
    answers: HashMap<String, Vec<u8>>,
    asked: Vec<Request>,
    /// What is answered without ever closing the connection.
    open: Vec<String>,
}

/// Listens in a folder of its own until the test ends.
pub(crate) struct Daemon {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    state: Arc<Mutex<State>>,
}

/// The body of an event stream that says its end.
pub(crate) fn sse(name: &str, messages: &[Value]) -> String {
    let events: String = messages.iter().map(|message| format!("event: {name}\ndata: {message}\n\n")).collect();
    events + "event: end\ndata: {}\n\n"
}

impl Daemon {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("wardian.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { _folder: folder, socket, state }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Answers a method and path with JSON.
    pub(crate) fn answers(&mut self, request: &str, status: u16, body: String) {
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
        self.set(request, format!("{head}connection: close\r\n\r\n{body}"));
    }

    /// Answers with an event stream.
    pub(crate) fn streams(&mut self, request: &str, body: String) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        self.set(request, format!("{head}{body}"));
    }

    /// Answers with an event stream that never ends.
    pub(crate) fn streams_on(&mut self, request: &str, body: &str) {
        self.set(request, format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{body}"));
        self.state.lock().unwrap().open.push(request.to_owned());
    }

    /// Answers with less than it promises.
    pub(crate) fn breaks_off(&mut self, request: &str, body: &str) {
        self.set(request, format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len() + 1));
    }

    fn set(&self, request: &str, answer: String) {
        self.state.lock().unwrap().answers.insert(request.to_owned(), answer.into_bytes());
    }

    /// The bodies of the requests with that method and path.
    pub(crate) fn asked(&self, request: &str) -> Vec<Vec<u8>> {
        let state = self.state.lock().unwrap();
        state.asked.iter().filter(|(what, ..)| what == request).map(|(.., body)| body.clone()).collect()
    }

    /// The whole targets of the requests with that method and path.
    pub(crate) fn targets(&self, request: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.asked.iter().filter(|(what, ..)| what == request).map(|(_, target, _)| target.clone()).collect()
    }
}

fn serve(stream: UnixStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        // Whoever only looks whether a daemon is there sends nothing.
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_ascii_lowercase());
    }
    let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let body = match header("content-length:") {
        Some(length) => {
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            body
        }
        None if header("transfer-encoding:").is_some() => chunks(&mut reader),
        None => Vec::new(),
    };
    let mut words = head[0].split(' ');
    let (method, target) = (words.next().unwrap().to_ascii_uppercase(), words.next().unwrap().to_owned());
    let what = format!("{method} {}", target.split('?').next().unwrap());
    let (answer, open) = {
        let mut state = state.lock().unwrap();
        let answer = state.answers.get(&what).cloned();
        let open = state.open.contains(&what);
        state.asked.push((what, target, body));
        (answer.unwrap_or_else(|| b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n".to_vec()), open)
    };
    (&stream).write_all(&answer).unwrap();
    if open {
        // Until the other side goes away.
        let _ = reader.read(&mut [0]);
    }
}

fn chunks(reader: &mut impl BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
