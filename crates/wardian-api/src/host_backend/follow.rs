//! Streams of what changes: an operation until its end, events, an import.

use std::future::Future;

use futures::{Stream, StreamExt, stream::BoxStream};
use tokio::sync::mpsc;
use wardian_host::Host;
use wardian_model::{
    event::EventRecord,
    id::OperationId,
    image::ImageRecord,
    operation::{OperationRecord, OperationState},
    record::Record,
};
use wardian_store::{Error, EventKind, Watch, typed};
use wardian_vault::{Progress, Step};

use crate::backend::{EventsFrom, ImportState, Refusal, RefusalKind};

type Records<R> = BoxStream<'static, Result<R, Refusal>>;

/// An operation as it stands, and after every change, until it has ended.
pub(super) async fn operation(host: &Host, id: OperationId) -> Result<Records<OperationRecord>, Refusal> {
    let store = host.records().store();
    let key = OperationRecord::key_of(id);
    let missing = || Refusal::not_found(format!("there is no operation {id}"));
    // Listed and not got: a listing tells the revision to watch from, however old the record is.
    let listing = typed::list_as::<OperationRecord>(&**store, &key).await.map_err(internal)?;
    let first = listing.entries.into_iter().next().ok_or_else(missing)?.value;
    let watch = store.watch(&key, listing.revision.next()).await.map_err(internal)?;
    let changes = futures::stream::once(async move { Ok(first) }).chain(puts::<OperationRecord>(watch));
    Ok(until_ended(changes).boxed())
}

fn until_ended(
    changes: impl Stream<Item = Result<OperationRecord, Refusal>> + Send + 'static,
) -> impl Stream<Item = Result<OperationRecord, Refusal>> + Send + 'static {
    changes.scan(false, |ended, change| {
        let item = (!*ended).then_some(change);
        *ended |= match &item {
            Some(Ok(operation)) => operation.state != OperationState::Running,
            Some(Err(_)) | None => true,
        };
        futures::future::ready(item)
    })
}

/// The events there are, then those that come.
pub(super) async fn events(host: &Host, from: EventsFrom) -> Result<Records<EventRecord>, Refusal> {
    let store = host.records().store();
    let listing = typed::list_as::<EventRecord>(&**store, EventRecord::PREFIX).await.map_err(internal)?;
    let first = from.from.unwrap_or(0);
    let there = listing.entries.into_iter().map(|entry| entry.value).filter(move |event| event.sequence >= first);
    let there = futures::stream::iter(there.map(Ok).collect::<Vec<_>>());
    if !from.follow {
        return Ok(there.boxed());
    }
    let watch = store.watch(EventRecord::PREFIX, listing.revision.next()).await.map_err(internal)?;
    let to_come = puts::<EventRecord>(watch)
        .filter(move |event| futures::future::ready(event.as_ref().map_or(true, |event| event.sequence >= first)));
    Ok(there.chain(to_come).boxed())
}

/// An import's steps, then its result. Dropped, it gives the import up.
pub(super) fn import(
    done: impl Future<Output = Result<ImageRecord, wardian_host::Refusal>> + Send + 'static,
    steps: mpsc::Receiver<Progress>,
) -> Records<ImportState> {
    let steps = tokio_stream::wrappers::ReceiverStream::new(steps).map(|progress| Ok(doing(progress)));
    let done = futures::stream::once(async move { done.await.map(ImportState::Done) });
    // The sender of the steps lives in the import itself: both streams advance together, and the result comes last.
    futures::stream::select(steps, done).boxed()
}

fn doing(progress: Progress) -> ImportState {
    let step = match progress.step {
        Step::Checking => "check",
        Step::Converting => "convert",
        Step::Hashing => "digest",
        Step::Finishing => "finish",
    };
    // A share of the whole in percent; the cast saturates, and the range is small.
    let percent = progress.percent.clamp(0.0, 100.0) as u8;
    ImportState::Doing { step: step.to_owned(), percent: Some(percent) }
}

/// Every value written below a watch's prefix.
fn puts<R: Record>(watch: Watch) -> impl Stream<Item = Result<R, Refusal>> + Send + 'static {
    let batches = futures::stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.next().await {
            Ok(events) => {
                let values = events.into_iter().filter_map(|event| match event.kind {
                    EventKind::Put(entry) => Some(entry.decode::<R>().map_err(internal)),
                    EventKind::Delete { .. } => None,
                });
                Some((values.collect::<Vec<_>>(), Some(watch)))
            }
            // Fell behind, or the daemon stops: the client asks again from where it is.
            Err(Error::Compacted { .. } | Error::Closed { .. }) => None,
            Err(error) => Some((vec![Err(internal(error))], None)),
        }
    });
    batches.flat_map(futures::stream::iter)
}

fn internal(error: wardian_store::Error) -> Refusal {
    Refusal::new(RefusalKind::Internal, wardian_host::problem(&error))
}
