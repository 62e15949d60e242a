//! The calls of etcd's v3 API that the store makes, at one member.

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::wire::{
    CompactionRequest, Done, LeaseGrantRequest, LeaseRequest, LeaseResponse, RangeRequest, RangeResponse, TxnRequest,
    TxnResponse, WatchCreateRequest, WatchRequest, WatchResponse,
};

/// A member, to be asked. Clones share its connection.
#[derive(Clone)]
pub(super) struct Client {
    grpc: Grpc<Channel>,
}

impl Client {
    pub(super) fn new(channel: Channel) -> Self {
        // A conflict may have to show 128 values, a watch a thousand revisions; etcd itself sends up to 2 GiB.
        Self { grpc: Grpc::new(channel).max_decoding_message_size(usize::MAX) }
    }

    pub(super) async fn range(self, request: RangeRequest) -> Result<RangeResponse, Status> {
        self.call("/etcdserverpb.KV/Range", request).await
    }

    pub(super) async fn txn(self, request: TxnRequest) -> Result<TxnResponse, Status> {
        self.call("/etcdserverpb.KV/Txn", request).await
    }

    pub(super) async fn compact(self, request: CompactionRequest) -> Result<Done, Status> {
        self.call("/etcdserverpb.KV/Compact", request).await
    }

    pub(super) async fn grant(self, request: LeaseGrantRequest) -> Result<LeaseResponse, Status> {
        self.call("/etcdserverpb.Lease/LeaseGrant", request).await
    }

    pub(super) async fn revoke(self, request: LeaseRequest) -> Result<Done, Status> {
        self.call("/etcdserverpb.Lease/LeaseRevoke", request).await
    }

    /// Its time to live, -1 when it has ended.
    pub(super) async fn time_to_live(self, request: LeaseRequest) -> Result<LeaseResponse, Status> {
        self.call("/etcdserverpb.Lease/LeaseTimeToLive", request).await
    }

    /// One question and one answer; the stream that etcd has for this ends with them.
    pub(super) async fn keep_alive(mut self, request: LeaseRequest) -> Result<LeaseResponse, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
        let request = with_leader(tokio_stream::once(request));
        let answers: Response<Streaming<LeaseResponse>> =
            self.grpc.streaming(request, path, ProstCodec::default()).await?;
        let answer = answers.into_inner().message().await?;
        answer.ok_or_else(|| Status::new(Code::Unavailable, "etcd ended the call without an answer"))
    }

    /// Begins a watch, and gives the first answer with those that follow.
    pub(super) async fn watch(
        mut self,
        request: WatchCreateRequest,
    ) -> Result<(WatchResponse, Streaming<WatchResponse>), Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        // When the requests end, etcd ends the watch. So they never do.
        let first = tokio_stream::once(WatchRequest { create: Some(request) });
        let requests = tokio_stream::StreamExt::chain(first, tokio_stream::pending());
        let answers: Response<Streaming<WatchResponse>> =
            self.grpc.streaming(with_leader(requests), path, ProstCodec::default()).await?;
        let mut answers = answers.into_inner();
        let first = answers.message().await?;
        let first = first.ok_or_else(|| Status::new(Code::Unavailable, "etcd ended the watch before it began"))?;
        Ok((first, answers))
    }

    async fn call<Q, A>(mut self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.ready().await?;
        let path = PathAndQuery::from_static(path);
        Ok(self.grpc.unary(with_leader(request), path, ProstCodec::default()).await?.into_inner())
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))
    }
}

/// Asks the member to refuse at once, and to end streams, when it knows of no leader (etcd's `WithRequireLeader`). Else
/// a member that is cut off from the others would keep everybody waiting.
fn with_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    request
}
