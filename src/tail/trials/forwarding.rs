//! A trial of the forwarding of lines from one process to another, both of which are killed again and again.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::log::Log;
use crate::config::{self, AuditServer, AuditSource, Begin, Feed};
use crate::health::Health;
use crate::shutdown::Shutdown;
use crate::tail::forward::Forwarder;
use crate::tail::{Piece, SourceName, Sources};

/// How long everything may take to arrive.
const LIMIT: Duration = Duration::from_secs(60);

/// The numbers of the lines that are on the receiver's disk.
type Disk = Arc<Mutex<BTreeSet<u64>>>;

/// A cluster that nobody asks.
fn kubernetes() -> config::Kubernetes {
    config::Kubernetes {
        namespace: "vso-probe".to_owned(),
        context: None,
        kubeconfig: None,
    }
}

/// A receiver, which is killed by being aborted.
fn receiver(state: &Path, listen: SocketAddr, disk: &Disk) -> JoinHandle<()> {
    let (state, disk) = (state.to_owned(), disk.clone());
    tokio::spawn(async move {
        let shutdown = Shutdown::default();
        let (mut sources, mut batches) =
            Sources::open(&state, &Health::default(), &shutdown).unwrap();
        let source = AuditSource {
            name: "vault-1".into(),
            feed: Feed::Http {
                bearer_token_file: None,
            },
        };
        sources.add(&source, &kubernetes());
        let server = AuditServer {
            listen,
            tls: None,
            bearer_token_file: None,
        };
        let serving = sources.intake().listen(&server, shutdown).await.unwrap();
        let judging = async {
            while let Some(batch) = batches.recv().await {
                disk.lock().unwrap().extend(batch.pieces.iter().map(number));
                batch.receipt.acknowledge();
            }
        };
        tokio::join!(serving, judging);
    })
}

fn number(piece: &Piece) -> u64 {
    let Piece::Line(line) = piece else {
        panic!("{piece:?}");
    };
    let text = std::str::from_utf8(line).unwrap();
    let rest = text.strip_prefix("{\"n\":").unwrap();
    rest.split(',').next().unwrap().parse().unwrap()
}

/// A sender, which is killed by being aborted.
fn sender(state: &Path, log: &Path, to: SocketAddr) -> JoinHandle<()> {
    let (state, log) = (state.to_owned(), log.to_owned());
    tokio::spawn(async move {
        let source = SourceName::from("vault-1");
        let forwarder = Forwarder::new(&source, &format!("http://{to}"), None, None).unwrap();
        let (mut sources, batches) =
            Sources::open(&state, &Health::default(), &Shutdown::default()).unwrap();
        sources.add_file(&source, &log, Begin::Beginning);
        forwarder.run(batches).await.unwrap();
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_two_that_are_killed() {
    // It may be there already, of another test.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut rng = StdRng::seed_from_u64(1);
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let disk = Disk::default();
    let mut log = Log::new();
    let mut received = receiver(&there, address, &disk);
    let mut sent = sender(&here, &log.path(), address);
    let mut ticks = interval(Duration::from_millis(50));
    let begun = async {
        while !here.join("positions.json").exists() {
            ticks.tick().await;
        }
    };
    timeout(LIMIT, begun).await.unwrap();
    for _ in 0..40 {
        log.write(rng.random_range(0..50));
        match rng.random_range(0..8) {
            0 => {
                received.abort();
                let _ = received.await;
                received = receiver(&there, address, &disk);
            }
            1 | 2 => {
                sent.abort();
                let _ = sent.await;
                log.rotate();
                log.write(3);
                sent = sender(&here, &log.path(), address);
            }
            3 => log.rotate(),
            4 => log.gzip(rng.random_range(1..4)),
            _ => {}
        }
        if rng.random() {
            ticks.tick().await;
        }
        assert!(!received.is_finished() && !sent.is_finished());
    }
    let written: BTreeSet<u64> = (0..log.written).collect();
    let all = async {
        while *disk.lock().unwrap() != written {
            ticks.tick().await;
        }
    };
    let arrived = timeout(LIMIT, all).await;
    let missing: Vec<_> = written.difference(&disk.lock().unwrap()).copied().collect();
    assert!(
        arrived.is_ok(),
        "{missing:?} are missing of {}",
        log.written
    );
    received.abort();
    sent.abort();
}
