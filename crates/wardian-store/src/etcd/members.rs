//! The members of the cluster, and who of them is asked.
//!
//! Each call goes to the member that answered last. One that can't be reached, or is without the others, is left for
//! the next, as long as there is time and trying again is safe. When there is no more time, people are told the most
//! that was learned about why.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::config::EtcdConfig;
use super::connect::{ConnectError, Connector, tls_config};
use super::fault::{Fault, Kind, cause};
use super::rpc::Client;
use super::wire::{RangeRequest, RangeResponse};
use crate::error::{Error, Result};

/// How long to wait when all members have been tried, at first, and at most: it doubles each time.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Whether a call may be made once more when it may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Twice is as good as once.
    Always,
    /// It must not happen twice.
    Never,
}

/// What came of a call.
pub(super) struct Answer<T> {
    pub(super) value: T,
    /// Why an earlier try, which may have happened, was given up.
    pub(super) doubt: Option<Error>,
}

/// Why there is no answer, or which.
#[derive(Debug)]
pub(super) enum Failure {
    /// etcd says no.
    Said(Fault),
    /// There is none.
    Failed(Error),
}

pub(super) struct Members {
    all: Vec<Member>,
    /// The one that answered last.
    current: AtomicUsize,
    timeout: Duration,
    /// All addresses, for people.
    names: String,
}

struct Member {
    address: String,
    client: Client,
    connector: Connector,
}

impl Members {
    /// Makes what is needed for connections, and none yet. Reads the certificates, which blocks.
    pub(super) fn new(config: &EtcdConfig) -> Result<Self> {
        let addresses = config.check()?;
        let names = config.endpoints.join(", ");
        let refused = |error: &ConnectError| match Fault::connect(error) {
            Fault { kind: Kind::Certificate(fault), .. } => {
                Error::Certificate { fault, endpoints: names.clone(), source: cause(error.to_string()) }
            }
            _ => Error::Unreachable { endpoints: names.clone(), source: cause(error.to_string()) },
        };
        let tls = config.tls.as_ref().map(tls_config).transpose().map_err(|error| refused(&error))?;
        let all = addresses.into_iter().zip(&config.endpoints).map(|(address, endpoint)| {
            let connector = Connector::new(address, tls.as_ref()).map_err(|error| refused(&error))?;
            Ok(Member { address: endpoint.clone(), client: Client::new(connector.channel()), connector })
        });
        let all = all.collect::<Result<Vec<_>>>()?;
        Ok(Self { all, current: AtomicUsize::new(0), timeout: config.timeout, names })
    }

    /// All addresses, for people.
    pub(super) fn names(&self) -> &str {
        &self.names
    }

    /// Makes a call until a member has answered it.
    pub(super) async fn ask<T, F>(
        &self,
        action: &'static str,
        again: Again,
        call: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<Answer<T>, Failure>
    where
        F: Future<Output = Result<T, Status>> + Send,
        T: Send,
    {
        let deadline = Instant::now() + self.timeout;
        // Some time is always left to ask another member, if only what is wrong.
        let patience = match again {
            Again::Always => self.timeout / 3,
            Again::Never => self.timeout * 2 / 3,
        };
        let mut tries = Tries::new(self.all.len());
        match self.try_all(deadline, patience, again, &mut tries, call).await {
            Ok(value) => Ok(Answer { value, doubt: tries.doubt.map(|fault| self.engine(action, &fault)) }),
            Err(fault) if fault.kind.is_answer() => Err(Failure::Said(fault)),
            Err(fault) if again == Again::Never && fault.maybe_done => {
                // It stays open what became of it; what is left of the time is for why.
                let nothing = |client: Client| client.range(RangeRequest { key: vec![0], ..RangeRequest::default() });
                let asked: Result<RangeResponse, _> =
                    self.try_all(deadline, self.timeout / 6, Again::Always, &mut tries, nothing).await;
                Err(Failure::Failed(match asked {
                    Err(nobody) if !nobody.kind.is_answer() => self.sum(&tries),
                    Ok(_) | Err(_) => self.engine(action, &fault),
                }))
            }
            Err(_) => Err(Failure::Failed(self.sum(&tries))),
        }
    }

    /// Asks one after the other, round and round.
    async fn try_all<T, F>(
        &self,
        deadline: Instant,
        patience: Duration,
        again: Again,
        tries: &mut Tries,
        call: impl Fn(Client) -> F + Send + Sync,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Status>> + Send,
        T: Send,
    {
        let mut pause = PAUSE;
        let mut round = 0;
        loop {
            let index = self.current.load(Ordering::Relaxed);
            let member = &self.all[index];
            let left = deadline.saturating_duration_since(Instant::now());
            let asked = async {
                match call(member.client.clone()).await {
                    Ok(value) => Ok(value),
                    Err(status) => Err(member.explain(Fault::new(&status)).await),
                }
            };
            let fault = match tokio::time::timeout(patience.min(left), asked).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(fault)) => fault,
                Err(_) => Fault::silent(),
            };
            if fault.kind.is_answer() {
                return Err(fault);
            }
            // Unless somebody else has found a better one meanwhile.
            let next = (index + 1) % self.all.len();
            let _ = self.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
            let fault = fault.at(&member.address);
            tries.note(index, fault.clone());
            round += 1;
            let over = Instant::now() >= deadline || tries.are_hopeless();
            if over || (again == Again::Never && fault.maybe_done) {
                return Err(fault);
            }
            if round % self.all.len() == 0 {
                tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    fn engine(&self, action: &'static str, fault: &Fault) -> Error {
        Error::Engine { action, name: self.names.clone(), source: fault.cause() }
    }

    /// What all that was met comes to.
    fn sum(&self, tries: &Tries) -> Error {
        let (endpoints, source) = (self.names.clone(), cause(tries.text()));
        match tries.worst() {
            Some(Kind::NoQuorum) => Error::NoQuorum { endpoints, source },
            Some(Kind::Certificate(fault)) => Error::Certificate { fault, endpoints, source },
            _ => Error::Unreachable { endpoints, source },
        }
    }

    /// The error of an answer that was not expected.
    pub(super) fn refused(&self, action: &'static str, failure: Failure) -> Error {
        match failure {
            Failure::Failed(error) => error,
            Failure::Said(fault) => self.engine(action, &fault),
        }
    }
}

impl Member {
    /// Looks whether a connection that was lost was lost for a certificate.
    async fn explain(&self, fault: Fault) -> Fault {
        if fault.kind != Kind::Lost {
            return fault;
        }
        match self.connector.refusal().await {
            Some(error) => fault.because(&error),
            None => fault,
        }
    }
}

/// What was met at each member.
struct Tries {
    faults: Vec<Option<Fault>>,
    /// The last that may have happened.
    doubt: Option<Fault>,
}

impl Tries {
    fn new(members: usize) -> Self {
        Self { faults: vec![None; members], doubt: None }
    }

    fn note(&mut self, member: usize, fault: Fault) {
        if fault.maybe_done {
            self.doubt = Some(fault.clone());
        }
        let known = &mut self.faults[member];
        if known.as_ref().is_none_or(|known| known.kind.weight() <= fault.kind.weight()) {
            *known = Some(fault);
        }
    }

    /// Whether waiting won't help.
    fn are_hopeless(&self) -> bool {
        self.faults.iter().all(|fault| matches!(fault, Some(Fault { kind: Kind::Certificate(_), .. })))
    }

    fn worst(&self) -> Option<Kind> {
        self.faults.iter().flatten().map(|fault| fault.kind).max_by_key(|kind| kind.weight())
    }

    fn text(&self) -> String {
        let all: Vec<_> = self.faults.iter().flatten().map(Fault::text).collect();
        all.join("; ")
    }
}
