//! `wardian console`: a terminal on a machine's serial console, or its output as it comes when there is no terminal.

use std::{io::IsTerminal as _, os::fd::AsFd};

use nix::sys::termios::{self, SetArg, Termios};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    signal::unix::SignalKind,
};

use super::{Session, args, failure::Failure};

/// ctrl-], as telnet has it: no guest needs it.
const DETACH: u8 = 0x1d;

/// How much of what was printed before is shown, in bytes: a few screens.
const TAIL: usize = 8 << 10;

pub(crate) async fn run(session: &Session, arguments: args::Console) -> Result<(), Failure> {
    let target = &arguments.target;
    let (environment, machine) = (target.environment.as_str(), target.machine.as_str());
    let client = session.client().await?;
    // Attached before asking for the end: what is printed in between is then seen twice rather than never.
    let console = if arguments.tail { None } else { Some(client.console(environment, machine).await) };
    let tail = client.console_tail(environment, machine, TAIL).await;
    if arguments.tail && session.output.json {
        return session.output.json(&tail?);
    }
    let interactive = std::io::stdin().is_terminal();
    if interactive && matches!(console, Some(Ok(_))) {
        // Before the tail, whose last line is often a prompt that is typed behind.
        session.output.message(format_args!("attached to {target}; detach with ctrl-]"));
    }
    match tail {
        Ok(tail) => {
            let bytes = tail.console.into_bytes();
            session.output.data(bytes.map_err(|error| Failure::new(format!("can't read the console: {error}")))?)?;
        }
        Err(error) if arguments.tail => return Err(error.into()),
        // Nothing has been printed yet, or what was is lost; the console itself is what was asked for.
        Err(_) => {}
    }
    let Some(console) = console else { return Ok(()) };
    let (guest_out, guest_in) = tokio::io::split(console?);
    let end = {
        let _raw = interactive.then(RawTerminal::enter).transpose()?;
        tokio::select! {
            end = show(session, guest_out) => end?,
            end = type_in(tokio::io::stdin(), guest_in, interactive) => end,
            // So that the terminal is put back before the process ends.
            () = told_to_end() => return Err(Failure::Exit(143)),
        }
    };
    match end {
        End::Detached => session.output.message(format_args!("\ndetached from {target}")),
        End::Closed => session.output.message(format_args!("\nthe console of {target} was closed")),
    }
    Ok(())
}

/// How a session on a console ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// By the user.
    Detached,
    /// By the machine, or the daemon.
    Closed,
}

async fn show(session: &Session, mut guest: impl AsyncRead + Unpin) -> Result<End, Failure> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match guest.read(&mut buffer).await {
            Ok(0) | Err(_) => return Ok(End::Closed),
            Ok(length) => session.output.data(&buffer[..length])?,
        }
    }
}

/// Passes on what is typed until the detach key. Without a terminal every byte is passed on, and the end of the
/// input is not the end of the session: a script may send a line and read what follows.
async fn type_in(mut keyboard: impl AsyncRead + Unpin, mut guest: impl AsyncWrite + Unpin, interactive: bool) -> End {
    let mut buffer = vec![0; 4 << 10];
    loop {
        let length = match keyboard.read(&mut buffer).await {
            Ok(0) | Err(_) => std::future::pending().await,
            Ok(length) => length,
        };
        let typed = &buffer[..length];
        let (pass, detach) = match typed.iter().position(|byte| *byte == DETACH).filter(|_| interactive) {
            Some(at) => (&typed[..at], true),
            None => (typed, false),
        };
        if guest.write_all(pass).await.is_err() || guest.flush().await.is_err() {
            return End::Closed;
        }
        if detach {
            return End::Detached;
        }
    }
}

/// Waits for the signals that end a process, when there is a terminal to put back.
async fn told_to_end() {
    let signal = |kind| tokio::signal::unix::signal(kind);
    let (Ok(mut end), Ok(mut hang_up)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = end.recv() => {}
        _ = hang_up.recv() => {}
    }
}

/// The terminal in raw mode, until dropped.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Result<Self, Failure> {
        let failure = |error: nix::Error| Failure::new(format!("can't put the terminal into raw mode: {error}"));
        let stdin = std::io::stdin();
        let before = termios::tcgetattr(stdin.as_fd()).map_err(failure)?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSADRAIN, &raw).map_err(failure)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // What was typed after detaching is for the shell, so nothing is flushed away. Nothing is left to do on error.
        let _ = termios::tcsetattr(std::io::stdin().as_fd(), SetArg::TCSADRAIN, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_detach_key_ends_the_session_and_is_not_passed_on() {
        let mut guest = Vec::new();
        assert_eq!(type_in(&b"ls\r\x1dexit"[..], &mut guest, true).await, End::Detached);
        assert_eq!(guest, b"ls\r");
    }

    #[tokio::test]
    async fn without_a_terminal_every_byte_is_passed_on() {
        let (mut guest, other) = tokio::io::duplex(64);
        let typing = tokio::spawn(async move { type_in(&b"a\x1db"[..], other, false).await });
        let mut got = [0; 3];
        guest.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"a\x1db");
        drop(guest);
        typing.abort();
    }
}
