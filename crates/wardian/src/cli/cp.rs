//! `wardian cp`: a file or a folder, into or out of a machine.
//!
//! Folders travel as archives, which [`super::tree`] packs and unpacks. What arrives here is written beside its
//! destination and renamed, so that no half file is ever found under the name.

use std::{
    fs::Permissions,
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use wardian_api::wire::{ExecRequest, ExecResult};
use wardian_client::{Client, ClientError};

use super::{
    Session, args,
    failure::{Failure, Problem},
    output::file_failure,
    target::{Location, MachineTarget},
    tree,
};

pub(crate) async fn run(session: &Session, arguments: args::Copy) -> Result<(), Failure> {
    let recursive = arguments.recursive;
    match (arguments.source, arguments.destination) {
        (Location::Local(from), Location::Machine { target, path }) => {
            let guest = Guest { client: session.client().await?, target };
            let folder =
                tokio::fs::metadata(&from).await.map_err(|error| file_failure("read", &from, &error))?.is_dir();
            if folder && !recursive {
                return Err(is_folder(&from.display().to_string()));
            }
            let to = guest.inside(&path, &from).await?;
            if folder { guest.send_folder(from, &to).await } else { guest.send_file(&from, &to).await }
        }
        (Location::Machine { target, path }, Location::Local(to)) => {
            let guest = Guest { client: session.client().await?, target };
            let folder = guest.is_folder(&path).await?;
            if folder && !recursive {
                return Err(is_folder(&format!("{}:{path}", guest.target)));
            }
            let to = inside(to, name_of(&path));
            if folder { guest.fetch_folder(&path, &to).await } else { guest.fetch_file(&path, &to).await }
        }
        (Location::Local(_), Location::Local(_)) => {
            Err(Failure::usage("neither side names a machine; write one as ENV/MACHINE:PATH"))
        }
        (Location::Machine { .. }, Location::Machine { .. }) => {
            Err(Failure::usage("both sides name a machine; copy by way of a local file"))
        }
    }
}

/// How long packing or unpacking a folder in a machine may take, in milliseconds: ten minutes.
const PATIENCE_MS: u64 = 600_000;

fn is_folder(what: &str) -> Failure {
    Problem::new(format!("{what} is a folder")).hint("copy it with all it contains by --recursive").into()
}

/// The last part of a path in a guest, whichever way it is written.
fn name_of(path: &str) -> &str {
    path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default()
}

/// Where a thing of that name ends up: in the destination when that is a folder, or else at it.
fn inside(destination: PathBuf, name: &str) -> PathBuf {
    let is_folder = destination.is_dir() || destination.as_os_str().as_encoded_bytes().ends_with(b"/");
    // A guest's file called `..` must not lead elsewhere.
    if is_folder && !matches!(name, "" | "." | "..") { destination.join(name) } else { destination }
}

/// A machine whose files are copied.
struct Guest {
    client: Client,
    target: MachineTarget,
}

impl Guest {
    async fn exec(&self, command: &[&str]) -> Result<ExecResult, ClientError> {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let request = ExecRequest { command, timeout_ms: Some(PATIENCE_MS), ..ExecRequest::default() };
        self.client.exec(self.target.environment.as_str(), self.target.machine.as_str(), &request).await
    }

    /// Runs a command that must succeed for `what` to be done.
    async fn must(&self, what: &str, command: &[&str]) -> Result<(), Failure> {
        let result = self.exec(command).await?;
        if result.status == Some(0) {
            return Ok(());
        }
        let said = result.stderr.into_bytes().unwrap_or_default();
        let lines = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect::<Vec<_>>();
        Err(Problem::new(format!("{} can't {what}", self.target)).details(lines).into())
    }

    /// Whether a path is a folder. A guest without the command to ask is taken to have none there.
    async fn is_folder(&self, path: &str) -> Result<bool, Failure> {
        match self.exec(&["test", "-d", path]).await {
            Ok(result) => Ok(result.status == Some(0)),
            // Without an agent the copy itself will say so; without `test` this is not a Unix.
            Err(ClientError::Refused(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`inside`], for a path in the guest.
    async fn inside(&self, destination: &str, source: &Path) -> Result<String, Failure> {
        let is_folder = destination.ends_with(['/', '\\']) || self.is_folder(destination).await?;
        let name = std::path::absolute(source).ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        match (is_folder, name) {
            (false, _) => Ok(destination.to_owned()),
            (true, Some(name)) => Ok(format!("{}/{name}", destination.trim_end_matches(['/', '\\']))),
            (true, None) => {
                Err(Failure::new(format!("{} has no name of its own; name the destination in full", source.display())))
            }
        }
    }

    async fn send_file(&self, from: &Path, to: &str) -> Result<(), Failure> {
        let failure = |error: std::io::Error| file_failure("read", from, &error);
        let file = tokio::fs::File::open(from).await.map_err(failure)?;
        let mode = file.metadata().await.map_err(failure)?.permissions().mode() & 0o777;
        self.write(to, Some(mode), file).await
    }

    async fn write(
        &self,
        to: &str,
        mode: Option<u32>,
        content: impl tokio::io::AsyncRead + Send + Unpin + 'static,
    ) -> Result<(), Failure> {
        let (environment, machine) = (self.target.environment.as_str(), self.target.machine.as_str());
        self.client.write_file(environment, machine, to, mode, content).await?;
        Ok(())
    }

    async fn fetch_file(&self, from: &str, to: &Path) -> Result<(), Failure> {
        let (environment, machine) = (self.target.environment.as_str(), self.target.machine.as_str());
        let content = self.client.read_file(environment, machine, from).await?;
        let special = tokio::fs::metadata(to).await.is_ok_and(|found| !found.is_file());
        if special {
            // A pipe or a device is written to, not replaced.
            let file = tokio::fs::OpenOptions::new().write(true).open(to).await;
            content.copy_to(file.map_err(|error| file_failure("write", to, &error))?).await?;
            return Ok(());
        }
        let mode = self.mode(from).await?;
        let part = Part::beside(to)?;
        let failure = |error: std::io::Error| file_failure("write", to, &error);
        let file =
            tokio::fs::OpenOptions::new().write(true).create_new(true).open(&part.path).await.map_err(failure)?;
        content.copy_to(file).await?;
        if let Some(mode) = mode {
            tokio::fs::set_permissions(&part.path, Permissions::from_mode(mode)).await.map_err(failure)?;
        }
        tokio::fs::rename(&part.path, to).await.map_err(failure)
    }

    /// The permissions of a file. Not those that would run it as its owner: the owner is another one here.
    async fn mode(&self, path: &str) -> Result<Option<u32>, Failure> {
        let result = match self.exec(&["stat", "-L", "-c", "%a", path]).await {
            Ok(result) => result,
            Err(ClientError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let text = result.stdout.into_bytes().ok().and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).map(|mode| mode & 0o777))
    }

    async fn send_folder(&self, from: PathBuf, to: &str) -> Result<(), Failure> {
        let archive = self.archive();
        let (content, packing) = tree::pack(from.clone());
        let sent = self.write(&archive, Some(0o600), content).await;
        // What went wrong with the folder explains an interrupted sending; a broken pipe is the sending's doing.
        let packed = packing.await;
        let unpacked = match (packed, sent) {
            (Err(error), Err(sending)) if error.kind() == ErrorKind::BrokenPipe => Err(sending),
            (Err(error), _) => Err(file_failure("read", &from, &error)),
            (Ok(()), Err(sending)) => Err(sending),
            (Ok(()), Ok(())) => {
                let script = r#"mkdir -p -- "$1" && tar -xof "$0" -C "$1""#;
                self.must(&format!("unpack the folder at {to}"), &["sh", "-c", script, &archive, to]).await
            }
        };
        self.forget(&archive).await;
        unpacked
    }

    async fn fetch_folder(&self, from: &str, to: &Path) -> Result<(), Failure> {
        let archive = self.archive();
        let script = r#"umask 077 && tar -cf "$0" -C "$1" ."#;
        let packed = self.must(&format!("pack the folder {from}"), &["sh", "-c", script, &archive, from]).await;
        let fetched = match packed {
            Ok(()) => self.unpack(&archive, to).await,
            Err(error) => Err(error),
        };
        self.forget(&archive).await;
        fetched
    }

    async fn unpack(&self, archive: &str, to: &Path) -> Result<(), Failure> {
        let (environment, machine) = (self.target.environment.as_str(), self.target.machine.as_str());
        let content = self.client.read_file(environment, machine, archive).await?;
        let (pipe, unpacking) = tree::unpack(to.to_owned());
        let (received, unpacked) = tokio::join!(content.copy_to(pipe), unpacking);
        match (received, unpacked) {
            // A pipe that nobody reads any more is the unpacking's failure.
            (Err(ClientError::Content(_)) | Ok(_), Err(error)) => Err(file_failure("unpack into", to, &error)),
            (Err(error), _) => Err(error.into()),
            (Ok(_), Ok(())) => Ok(()),
        }
    }

    /// A name in the guest that nobody else uses.
    fn archive(&self) -> String {
        format!("/tmp/.wardian-cp-{}.tar", wardian_model::id::OperationId::random())
    }

    /// Removes the archive. When even that fails, the guest is gone, and what is in /tmp with it some day.
    async fn forget(&self, archive: &str) {
        let _ = self.exec(&["rm", "-f", archive]).await;
    }
}

/// A file being written; removed unless renamed.
struct Part {
    path: PathBuf,
}

impl Part {
    fn beside(to: &Path) -> Result<Self, Failure> {
        let Some(name) = to.file_name() else {
            return Err(Failure::new(format!("{} can't be the name of a file", to.display())));
        };
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".{}.part", std::process::id()));
        Ok(Self { path: to.with_file_name(part) })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Not there any more when all went well.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_the_name_and_nothing_leads_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(inside(path.clone(), "x"), path.join("x"));
        assert_eq!(inside(path.join("new"), "x"), path.join("new"));
        assert_eq!(inside("/nonexistent/".into(), "x"), Path::new("/nonexistent/x"));
        assert_eq!(inside(path.clone(), name_of("/etc/..")), path);
        assert_eq!(inside(path.clone(), name_of("/")), path);
    }

    #[test]
    fn the_name_of_a_guests_file_is_its_last_part() {
        assert_eq!(name_of("/var/log/messages"), "messages");
        assert_eq!(name_of("/srv/site/"), "site");
        assert_eq!(name_of(r"C:\Users\x.txt"), "x.txt");
    }

    #[test]
    fn a_part_is_beside_its_destination_and_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let part = Part::beside(&folder.path().join("x")).unwrap();
        assert_eq!(part.path.parent(), Some(folder.path()));
        std::fs::write(&part.path, "half").unwrap();
        drop(part);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
