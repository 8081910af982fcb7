//! A trial of what is told of a file: up to when all of it was taken.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::log::Log;
use crate::config::Begin;
use crate::health::Health;
use crate::shutdown::Shutdown;
use crate::tail::{Batch, SourceName, Sources, Status};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);
/// What may pass while it is looked at several times.
const LOOKS: Duration = Duration::from_millis(500);

/// Waits until all that was written by then has been taken. Whether that came in time.
async fn whole(status: &mut watch::Receiver<Status>, by: Timestamp, limit: Duration) -> bool {
    let until = status.wait_for(|status| status.whole_until >= Some(by));
    timeout(limit, until).await.is_ok()
}

async fn next(batches: &mut mpsc::Receiver<Batch>) -> Batch {
    timeout(LIMIT, batches.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_not_acknowledged_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sources, mut batches) =
        Sources::open(folder.path(), &Health::default(), &Shutdown::default()).unwrap();
    let mut log = Log::new();
    log.write(2);
    let written = Timestamp::now();
    let source = SourceName::from("kubernetes");
    sources.add_file(&source, &log.path(), Begin::Beginning);
    let mut status = sources.statuses()[&source].clone();
    let first = next(&mut batches).await;
    assert!(!whole(&mut status, written, LOOKS).await);
    assert_eq!(status.borrow().whole_until, None);
    first.receipt.acknowledge();
    assert!(whole(&mut status, written, LIMIT).await);
    // It goes on where nothing is written.
    assert!(whole(&mut status, Timestamp::now(), LIMIT).await);

    // While lines come, one batch is always under way: what was acknowledged before counts.
    log.write(1);
    let second = next(&mut batches).await;
    let between = Timestamp::now();
    assert!(!whole(&mut status, between, LOOKS).await);
    log.write(1);
    let third = next(&mut batches).await;
    let written = Timestamp::now();
    second.receipt.acknowledge();
    assert!(whole(&mut status, between, LIMIT).await);
    assert!(!whole(&mut status, written, LOOKS).await);

    // What is dropped comes again.
    drop(third);
    let again = next(&mut batches).await;
    assert!(!whole(&mut status, written, LOOKS).await);
    again.receipt.acknowledge();
    assert!(whole(&mut status, written, LIMIT).await);
}
