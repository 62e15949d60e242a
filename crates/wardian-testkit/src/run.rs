//! A finished command, and what a test says about it.

use std::{
    process::{Child, Output},
    time::Duration,
};

use crate::wait;

/// What a command left.
#[derive(Debug, Clone)]
pub struct Run {
    /// What was run.
    pub command: String,
    /// Its exit status; nothing when a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Run {
    pub(crate) fn new(command: String, output: &Output) -> Self {
        Self {
            command,
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Whether it exited with 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }

    /// Its standard output, when it exited with 0.
    ///
    /// # Panics
    /// When it didn't, with everything it said.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success(), "{self}");
        self.stdout
    }

    /// Its standard error, when it exited with `status`.
    ///
    /// # Panics
    /// When it ended in another way, with everything it said.
    #[track_caller]
    pub fn fails_with(self, status: i32) -> String {
        assert_eq!(self.status, Some(status), "{self}");
        self.stderr
    }

    /// Its standard output as JSON, when it exited with 0.
    ///
    /// # Panics
    /// When it didn't, or it is no JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }
}

/// A command that runs beside the test.
#[derive(Debug)]
pub struct Begun {
    command: String,
    child: Option<Child>,
}

impl Begun {
    pub(crate) const fn new(command: String, child: Child) -> Self {
        Self { command, child: Some(child) }
    }

    /// Waits until it ends. What it prints must fit into a pipe's buffer.
    ///
    /// # Panics
    /// When it takes longer than `limit`.
    #[track_caller]
    pub fn end(mut self, limit: Duration) -> Run {
        let mut child = self.child.take().expect("taken here only");
        wait::until(&format!("`{}` ends", self.command), limit, || child.try_wait().ok().flatten());
        let output = child.wait_with_output().expect("the output of a command that has ended");
        Run::new(std::mem::take(&mut self.command), &output)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`{}` ended with {:?}", self.command, self.status)?;
        writeln!(f, "stdout:\n{}", self.stdout)?;
        write!(f, "stderr:\n{}", self.stderr)
    }
}
