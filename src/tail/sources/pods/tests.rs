//! Tests of the reading of Pods' logs, from an API server that is played.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::kept::Mark;
use super::*;
use crate::tail::{Batch, Gap, Piece};

const LINE: &str = r#"2026-11-30T04:00:00.5Z {"time":"2026-11-30T04:00:00Z","type":"request"}"#;
const LATER: &str = r#"2026-11-30T04:00:01.5Z {"time":"2026-11-30T04:00:01Z","type":"response"}"#;
/// No test waits longer; the clock goes on at once where all wait.
const LIMIT: Duration = Duration::from_secs(60);

/// What the API server is like.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Played>>);

#[derive(Default)]
struct Played {
    /// The UIDs of the Pods that are there.
    pods: Vec<&'static str>,
    /// Whether it answers nothing.
    down: bool,
    log: Log,
    /// Whether the containers began anew, and how often their logs of before break before they are given.
    restarted: Option<u32>,
}

/// What it gives of a log.
#[derive(Clone, Copy, Default)]
enum Log {
    /// A line, and no end.
    #[default]
    Followed,
    /// Nothing yet, not even that it is there.
    Silent,
    /// A line, and then the connection breaks.
    Broken,
    /// A line, and the end.
    Ended,
}

impl Server {
    fn set(&self, change: impl FnOnce(&mut Played)) {
        change(&mut self.0.lock().unwrap());
    }

    async fn answer(self, uri: Uri) -> Response<UnsyncBoxBody<Bytes, std::io::Error>> {
        let previous = uri
            .query()
            .is_some_and(|query| query.contains("previous=true"));
        let (pods, down, restarted, log, lines) = {
            let mut played = self.0.lock().unwrap();
            let (mut log, mut lines) = (played.log, vec![LINE]);
            if let Some(breaks) = played.restarted.as_mut().filter(|_| previous) {
                (log, lines) = if *breaks > 0 {
                    (Log::Broken, vec![])
                } else {
                    (Log::Ended, vec![LINE, LATER])
                };
                *breaks = breaks.saturating_sub(1);
            }
            (
                played.pods.clone(),
                played.down,
                played.restarted.is_some(),
                log,
                lines,
            )
        };
        let text = |text: String| Full::from(text).map_err(|never: Infallible| match never {});
        if down {
            let mut answer = Response::new(text(String::new()).boxed_unsync());
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return answer;
        }
        if !uri.path().ends_with("/log") {
            let pods = pods.into_iter().map(|uid| {
                let (mut id, mut last) = (format!("containerd://{uid}"), json!({}));
                if restarted {
                    last = json!({"terminated": {"containerID": id, "exitCode": 1}});
                    id.push_str("-anew");
                }
                json!({
                    "metadata": {"name": "vault-0", "uid": uid},
                    "spec": {"containers": [{"name": "vault"}]},
                    "status": {"containerStatuses": [{
                        "name": "vault", "containerID": id, "lastState": last, "image": "vault", "imageID": "",
                        "ready": true, "restartCount": 0,
                    }]},
                })
            });
            let pods: Vec<_> = pods.collect();
            let list =
                json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods});
            return Response::new(text(list.to_string()).boxed_unsync());
        }
        let lines = lines
            .into_iter()
            .map(|line| Ok(Frame::data(Bytes::from(format!("{line}\n")))));
        let lines = stream::iter(lines.collect::<Vec<_>>());
        let rest = match log {
            Log::Silent => std::future::pending().await,
            Log::Followed => stream::pending().boxed(),
            Log::Broken => stream::iter([Err(std::io::Error::other("it broke"))]).boxed(),
            Log::Ended => stream::empty().boxed(),
        };
        Response::new(StreamBody::new(lines.chain(rest)).boxed_unsync())
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let answer = move |request: Request<kube::client::Body>| {
            let answer = server.clone().answer(request.uri().clone());
            async { Ok::<_, Infallible>(answer.await) }
        };
        Client::new(tower::service_fn(answer), "vault")
    }
}

/// A reader of the logs of these Pods.
struct Reader {
    reading: JoinHandle<()>,
    batches: mpsc::Receiver<Batch>,
    status: watch::Receiver<Status>,
    kept: Arc<Kept>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Reader {
    fn start(server: &Server, state: &Path) -> Self {
        let source = SourceName::from("stdout");
        let (outlet, batches) = Outlet::new();
        let (status, told) = watch::channel(Status::default());
        let kept = Arc::new(Kept::open(state, &source).unwrap());
        let pods = PodLogs {
            source: source.clone(),
            namespace: "vault".to_owned(),
            selector: "app=vault".to_owned(),
            container: None,
            kubernetes: config::Kubernetes {
                namespace: "vso-probe".to_owned(),
                context: None,
                kubeconfig: None,
            },
            state: state.to_owned(),
            outlet: outlet.clone(),
            status: Arc::new(status),
        };
        let way = Way {
            source: source.clone(),
            kept: kept.clone(),
            outlet,
            status: pods.status.clone(),
        };
        let troubles = Troubles {
            source,
            status: pods.status.clone(),
            of: Arc::default(),
        };
        let client = server.client();
        let reading = async move { pods.look(&client, &way, &troubles).await };
        Self {
            reading: tokio::spawn(reading),
            batches,
            status: told,
            kept,
        }
    }

    /// Waits until it is up, or down.
    async fn is(&mut self, up: bool) {
        let is = self.status.wait_for(|status| status.down.is_none() == up);
        timeout(LIMIT, is).await.expect("a change").unwrap();
    }

    /// The next pieces, not acknowledged yet.
    async fn next(&mut self) -> Batch {
        let batch = timeout(LIMIT, self.batches.recv()).await;
        batch.expect("a batch").expect("it is read")
    }

    async fn take(&mut self) -> Vec<Piece> {
        let Batch {
            pieces, receipt, ..
        } = self.next().await;
        receipt.acknowledge();
        pieces
    }

    /// Waits until it has forgotten a Pod.
    async fn forgets(&mut self, uid: &str) {
        let mut ticks = interval(Duration::from_millis(100));
        let forgets = async {
            while self.kept.of(uid).is_some() {
                ticks.tick().await;
            }
        };
        timeout(LIMIT, forgets).await.expect("it is forgotten");
    }
}

fn piece(line: &'static str) -> Piece {
    let (_, text) = line.split_once(' ').unwrap();
    Piece::Line(Bytes::from_static(text.as_bytes()))
}

/// Says that a Pod was read before, up to that line.
fn read_before(state: &Path, uid: &str) {
    let kept = Kept::open(state, &SourceName::from("stdout")).unwrap();
    let mark = Mark {
        container: format!("containerd://{uid}"),
        time: LINE.split_once(' ').and_then(|(time, _)| time.parse().ok()),
        lines: 1,
    };
    kept.save(uid, Some(mark)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_open_is_up_however_long_it_is_followed() {
    for log in [Log::Followed, Log::Silent] {
        let state = tempfile::tempdir().unwrap();
        let server = Server::default();
        server.set(|played| (played.pods, played.log) = (vec!["a"], Log::Ended));
        let mut reader = Reader::start(&server, state.path());
        assert_eq!(reader.take().await, [piece(LINE)]);
        server.set(|played| played.down = true);
        reader.is(false).await;
        server.set(|played| (played.down, played.log) = (false, log));
        reader.is(true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_with_a_pod_that_was_replaced_meanwhile_is_told_once() {
    let state = tempfile::tempdir().unwrap();
    for uid in ["old", "there"] {
        read_before(state.path(), uid);
    }
    let server = Server::default();
    server.set(|played| played.pods = vec!["there", "new"]);
    let mut reader = Reader::start(&server, state.path());
    // Until it is acknowledged, it is told again.
    let gap = [Piece::Gap(Gap::Vanished)];
    assert_eq!(reader.next().await.pieces, gap);
    let told = [reader.take().await, reader.take().await].concat();
    assert!(
        told.contains(&gap[0]) && told.contains(&piece(LINE)),
        "{told:?}"
    );
    reader.forgets("old").await;
    assert!(reader.kept.of("there").is_some());
    drop(reader);
    let mut reader = Reader::start(&server, state.path());
    let more = timeout(LIMIT, reader.batches.recv()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_goes_leaves_a_gap_only_if_its_log_was_not_read_to_the_end() {
    for (log, told) in [(Log::Ended, None), (Log::Broken, Some(Gap::Vanished))] {
        let state = tempfile::tempdir().unwrap();
        let server = Server::default();
        server.set(|played| (played.pods, played.log) = (vec!["a"], log));
        let mut reader = Reader::start(&server, state.path());
        assert_eq!(reader.take().await, [piece(LINE)]);
        server.set(|played| played.pods.clear());
        if let Some(gap) = told {
            assert_eq!(reader.take().await, [Piece::Gap(gap)]);
        }
        reader.forgets("a").await;
        assert!(reader.batches.try_recv().is_err(), "nothing else is told");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_container_that_began_anew_is_asked_for_until_it_comes() {
    let state = tempfile::tempdir().unwrap();
    read_before(state.path(), "a");
    let server = Server::default();
    server.set(|played| (played.pods, played.restarted) = (vec!["a"], Some(2)));
    let mut reader = Reader::start(&server, state.path());
    assert_eq!(reader.take().await, [piece(LATER)]);
    assert_eq!(reader.take().await, [piece(LINE)], "of the new one");
}
