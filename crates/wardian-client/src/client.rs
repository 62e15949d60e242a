//! One method for each route.

use std::path::{Path, PathBuf};

use futures::stream::BoxStream;
use hyper::{Method, StatusCode, header, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use wardian_api::{
    routes::CONSOLE_PROTOCOL,
    wire::{
        AclRequest, AclState, AddressList, CheckResult, CloneRequest, CloneResult, Conflicts, ConsoleTail, DaemonInfo,
        EnvironmentDetail, EnvironmentList, EnvironmentSummary, Event, ExecRequest, ExecResult, Expiry, ExpiryRequest,
        ExposeRequest, Exposure, Fence, FenceRequest, FenceState, GatewayRequest, GatewayState, HostList, HostReport,
        HostSummary, Image, ImageList, ImportProgress, ImportRequest, JoinReport, JoinState, NetworkState, Operation,
        OperationList, Placement, RestoreRequest, SnapshotList, SnapshotRequest, UnexposeQuery, UpAccepted, UpRequest,
        percent::encode,
    },
};

use crate::{
    ClientError, EventOptions, Patience, sse, streams,
    transport::{Transport, empty},
};

/// A machine's console: raw bytes both ways.
pub type Console = TokioIo<Upgraded>;

/// What is told one after the other. It can be polled as it is; dropping it ends the connection.
pub type Messages<'a, T> = BoxStream<'a, Result<T, ClientError>>;

/// A daemon, reached through its socket.
#[derive(Debug)]
pub struct Client {
    pub(crate) transport: Transport,
}

/// What a request without a body sends.
const NOTHING: Option<&()> = None;

impl Client {
    /// Connects to the daemon that listens at `path`.
    ///
    /// # Errors
    /// When none does, or this user may not connect to it.
    pub async fn connect(path: impl Into<PathBuf>) -> Result<Self, ClientError> {
        Ok(Self { transport: Transport::connect(path.into()).await? })
    }

    /// The daemon's socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.transport.path()
    }

    /// Who answers.
    ///
    /// # Errors
    /// See [`ClientError`]; the same for every method below.
    pub async fn info(&self) -> Result<DaemonInfo, ClientError> {
        self.transport.ask(Method::GET, "/v1/info", NOTHING).await
    }

    /// Looks at what environments need of the host.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn host_report(&self) -> Result<HostReport, ClientError> {
        self.transport.ask(Method::GET, "/v1/host", NOTHING).await
    }

    /// All environments, in the order of their names.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn environments(&self) -> Result<Vec<EnvironmentSummary>, ClientError> {
        let list: EnvironmentList = self.transport.ask(Method::GET, "/v1/environments", NOTHING).await?;
        Ok(list.environments)
    }

    /// Everything about one environment.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn environment(&self, name: &str) -> Result<EnvironmentDetail, ClientError> {
        self.transport.ask(Method::GET, &environment(name, ""), NOTHING).await
    }

    /// Makes an environment from a file and starts it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn up(&self, request: &UpRequest) -> Result<UpAccepted, ClientError> {
        self.transport.ask(Method::POST, "/v1/environments", Some(request)).await
    }

    /// Checks a file as [`Self::up`] would, and changes nothing.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn check(&self, request: &UpRequest) -> Result<CheckResult, ClientError> {
        self.transport.ask(Method::POST, "/v1/check", Some(request)).await
    }

    /// Which host a file's environment would go to, and why; changes nothing.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn place(&self, request: &UpRequest) -> Result<Placement, ClientError> {
        self.transport.ask(Method::POST, "/v1/placement", Some(request)).await
    }

    /// The hosts of the cluster, in the order of their names; none where the host is alone.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn hosts(&self) -> Result<Vec<HostSummary>, ClientError> {
        let list: HostList = self.transport.ask(Method::GET, "/v1/hosts", NOTHING).await?;
        Ok(list.hosts)
    }

    /// Brings the host into the cluster that its configuration names by now. Its daemon starts again afterwards:
    /// [`hosts`](Self::hosts) of another client tells when it is there.
    ///
    /// # Errors
    /// See [`ClientError`]. Nothing has changed then.
    pub async fn join(&self) -> Result<JoinReport, ClientError> {
        self.transport.ask(Method::POST, "/v1/host/join", NOTHING).await
    }

    /// What crosses between the host that answers and the others.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn network(&self) -> Result<NetworkState, ClientError> {
        self.transport.ask(Method::GET, "/v1/network", NOTHING).await
    }

    /// Starts the machines of an environment.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start(&self, name: &str) -> Result<Operation, ClientError> {
        self.transport.ask(Method::POST, &environment(name, "/start"), NOTHING).await
    }

    /// Stops the machines of an environment; their disks stay.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn stop(&self, name: &str) -> Result<Operation, ClientError> {
        self.transport.ask(Method::POST, &environment(name, "/stop"), NOTHING).await
    }

    /// Stops the machines of an environment where they are, with their memory on disk.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn suspend(&self, name: &str) -> Result<Operation, ClientError> {
        self.transport.ask(Method::POST, &environment(name, "/suspend"), NOTHING).await
    }

    /// Removes an environment with all that belongs to it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove(&self, name: &str) -> Result<Operation, ClientError> {
        self.transport.ask(Method::DELETE, &environment(name, ""), NOTHING).await
    }

    /// Makes environments whose inside is that of `source`.
    ///
    /// # Errors
    /// See [`ClientError`]. What becomes of each clone is in the result.
    pub async fn clone_environment(&self, source: &str, request: &CloneRequest) -> Result<CloneResult, ClientError> {
        self.transport.ask(Method::POST, &environment(source, "/clone"), Some(request)).await
    }

    /// Takes a snapshot of an environment; its machines go on as they were.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn snapshot(&self, name: &str, request: &SnapshotRequest) -> Result<Operation, ClientError> {
        self.transport.ask(Method::POST, &environment(name, "/snapshots"), Some(request)).await
    }

    /// The snapshots of an environment, oldest first, and where it is among them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn snapshots(&self, name: &str) -> Result<SnapshotList, ClientError> {
        self.transport.ask(Method::GET, &environment(name, "/snapshots"), NOTHING).await
    }

    /// Removes a snapshot; those taken after it stay whole.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_snapshot(&self, name: &str, snapshot: &str) -> Result<(), ClientError> {
        let rest = format!("/snapshots/{}", segment(snapshot));
        self.transport.tell(Method::DELETE, &environment(name, &rest)).await
    }

    /// Takes an environment back to a snapshot.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn restore(&self, name: &str, request: &RestoreRequest) -> Result<Operation, ClientError> {
        self.transport.ask(Method::POST, &environment(name, "/restore"), Some(request)).await
    }

    /// What may cross an environment's edge.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn fence(&self, name: &str) -> Result<FenceState, ClientError> {
        self.transport.ask(Method::GET, &environment(name, "/fence"), NOTHING).await
    }

    /// Changes what may cross an environment's edge; in effect when this returns.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_fence(&self, name: &str, fence: Fence) -> Result<FenceState, ClientError> {
        self.transport.ask(Method::PUT, &environment(name, "/fence"), Some(&FenceRequest { fence })).await
    }

    /// What an environment's machines may say and hear.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn acl(&self, name: &str) -> Result<AclState, ClientError> {
        self.transport.ask(Method::GET, &environment(name, "/acl"), NOTHING).await
    }

    /// Replaces one list of that; in effect when this returns.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_acl(&self, name: &str, request: &AclRequest) -> Result<AclState, ClientError> {
        self.transport.ask(Method::PUT, &environment(name, "/acl"), Some(request)).await
    }

    /// Through whom an environment's machines reach the outside.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn gateway(&self, name: &str) -> Result<GatewayState, ClientError> {
        self.transport.ask(Method::GET, &environment(name, "/gateway"), NOTHING).await
    }

    /// Changes that; in effect when this returns. `gateway` is `per-machine`, `host`, or the name of a machine.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_gateway(&self, name: &str, gateway: String) -> Result<GatewayState, ClientError> {
        self.transport.ask(Method::PUT, &environment(name, "/gateway"), Some(&GatewayRequest { gateway })).await
    }

    /// Joins the routing domains of two environments; in effect when this returns.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn join_environments(&self, name: &str, other: &str) -> Result<JoinState, ClientError> {
        let path = environment(name, &format!("/joined/{}", encode(other)));
        self.transport.ask(Method::PUT, &path, NOTHING).await
    }

    /// Takes that back.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn part_environments(&self, name: &str, other: &str) -> Result<JoinState, ClientError> {
        let path = environment(name, &format!("/joined/{}", encode(other)));
        self.transport.ask(Method::DELETE, &path, NOTHING).await
    }

    /// Changes when an environment is removed by itself: so many milliseconds from now, or never.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set_expiry(&self, name: &str, after_ms: Option<u64>) -> Result<Expiry, ClientError> {
        let target = environment(name, "/expiry");
        match after_ms {
            Some(after_ms) => self.transport.ask(Method::PUT, &target, Some(&ExpiryRequest { after_ms })).await,
            None => self.transport.ask(Method::DELETE, &target, NOTHING).await,
        }
    }

    /// What environments would collide in, if they were not isolated: one with all others, several with one another.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn conflicts(&self, names: &[&str]) -> Result<Conflicts, ClientError> {
        let query: Vec<_> = names.iter().map(|name| format!("environment={}", encode(name))).collect();
        self.transport.ask(Method::GET, &format!("/v1/conflicts?{}", query.join("&")), NOTHING).await
    }

    /// Both identities of the machines of an environment, or of one of them.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn addresses(&self, name: &str, machine: Option<&str>) -> Result<AddressList, ClientError> {
        let query = machine.map(|machine| format!("?machine={}", encode(machine))).unwrap_or_default();
        self.transport.ask(Method::GET, &environment(name, &format!("/addresses{query}")), NOTHING).await
    }

    /// Lets the outside reach a port of a machine.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn expose(&self, name: &str, request: &ExposeRequest) -> Result<Exposure, ClientError> {
        self.transport.ask(Method::POST, &environment(name, "/expose"), Some(request)).await
    }

    /// Closes an exposed port again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn unexpose(&self, name: &str, query: &UnexposeQuery) -> Result<(), ClientError> {
        let rest = format!(
            "/expose?machine={}&port={}&protocol={}",
            encode(&query.machine),
            query.port,
            query.protocol.word()
        );
        self.transport.tell(Method::DELETE, &environment(name, &rest)).await
    }

    /// Runs a command in a guest, through its agent.
    ///
    /// # Errors
    /// See [`ClientError`]. A command that fails is a result, not an error.
    pub async fn exec(&self, name: &str, of: &str, request: &ExecRequest) -> Result<ExecResult, ClientError> {
        self.transport.ask(Method::POST, &machine(name, of, "/exec"), Some(request)).await
    }

    /// A machine's console: what it writes from now on, and what is typed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn console(&self, name: &str, of: &str) -> Result<Console, ClientError> {
        let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, CONSOLE_PROTOCOL)];
        let target = machine(name, of, "/console");
        let response = self.transport.send(Method::GET, &target, empty(), &headers).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.transport.protocol("it doesn't open the console"));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| self.transport.broken(&error))?;
        Ok(TokioIo::new(upgraded))
    }

    /// The end of what a machine has written to its console; `most` bytes at most.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn console_tail(&self, name: &str, of: &str, most: usize) -> Result<ConsoleTail, ClientError> {
        let target = machine(name, of, &format!("/console/tail?bytes={most}"));
        self.transport.ask(Method::GET, &target, NOTHING).await
    }

    /// All operations that are remembered, newest first.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn operations(&self) -> Result<Vec<Operation>, ClientError> {
        let list: OperationList = self.transport.ask(Method::GET, "/v1/operations", NOTHING).await?;
        Ok(list.operations)
    }

    /// How an operation stands.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn operation(&self, id: &str) -> Result<Operation, ClientError> {
        self.transport.ask(Method::GET, &format!("/v1/operations/{}", encode(id)), NOTHING).await
    }

    /// How an operation goes: as it stands, then again after every change; ends once it is done or has failed.
    ///
    /// When the daemon goes away, the stream waits for it to come back as long as `patience` says.
    pub fn follow<'a>(&'a self, id: &str, patience: Patience) -> Messages<'a, Operation> {
        streams::operation(&self.transport, id.to_owned(), patience)
    }

    /// What has happened, and with `follow` what happens from now on.
    ///
    /// When the daemon goes away, a following stream waits for it to come back as long as `patience` says, and goes
    /// on after the last event it gave.
    pub fn events(&self, options: EventOptions, patience: Patience) -> Messages<'_, Event> {
        streams::events(&self.transport, options, patience)
    }

    /// All images, in the order of their names.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn images(&self) -> Result<Vec<Image>, ClientError> {
        let list: ImageList = self.transport.ask(Method::GET, "/v1/images", NOTHING).await?;
        Ok(list.images)
    }

    /// Imports an image. The stream tells how far it is; the last item carries the image. Dropping it gives the
    /// import up.
    ///
    /// # Errors
    /// See [`ClientError`]; what goes wrong later is the stream's last item.
    pub async fn import_image<'a>(
        &'a self,
        request: &ImportRequest,
    ) -> Result<Messages<'a, ImportProgress>, ClientError> {
        let body = self.transport.json(Some(request))?;
        let response = self.transport.send(Method::POST, "/v1/images", body, &[]).await?;
        Ok(sse::messages(&self.transport, response.into_body()))
    }

    /// Removes an image that no machine needs.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_image(&self, name: &str) -> Result<(), ClientError> {
        self.transport.tell(Method::DELETE, &format!("/v1/images/{}", encode(name))).await
    }
}

/// A route below an environment.
fn environment(name: &str, rest: &str) -> String {
    format!("/v1/environments/{}{rest}", segment(name))
}

/// A route below a machine.
pub(crate) fn machine(environment: &str, machine: &str, rest: &str) -> String {
    format!("/v1/environments/{}/machines/{}{rest}", segment(environment), segment(machine))
}

/// One segment of a path; a slash in a name must not make two of it.
fn segment(name: &str) -> String {
    encode(name).replace('/', "%2F")
}
