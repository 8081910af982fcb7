//! Tests of pushes, to receivers that accept, refuse, or are not there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use jiff::SignedDuration;
use prost::Message;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use vso_prober::config::{Config, Credential, Receiver as Endpoint, check};
use vso_prober::model::Step;
use vso_prober::model::cause::Cause;
use vso_prober::model::run::{Run, StepReport};
use vso_prober::model::standing::Standing;
use vso_prober::publish::{Fact, Publisher};
use vso_prober::push::{self, Error, Remote};
use vso_prober::shutdown::Shutdown;

use super::kit::{self, blamed, report, start};

/// The messages of remote write, written down once more so that a slip in the prober's own shows.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    series: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Request {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("text")
    }

    /// The samples of remote write, by series: name and labels.
    fn samples(&self) -> BTreeMap<String, Vec<(f64, i64)>> {
        let message = snap::raw::Decoder::new()
            .decompress_vec(&self.body)
            .expect("a block of snappy");
        let request = WriteRequest::decode(message.as_slice()).expect("a message");
        let told = |series: TimeSeries| {
            let names: Vec<_> = series.labels.iter().map(|label| &label.name).collect();
            assert!(names.is_sorted(), "{names:?}");
            let labels: Vec<_> = series
                .labels
                .iter()
                .filter(|label| label.name != "__name__")
                .map(|label| format!("{}={}", label.name, label.value))
                .collect();
            let name = series
                .labels
                .iter()
                .find(|label| label.name == "__name__")
                .expect("a name");
            let samples = series
                .samples
                .iter()
                .map(|sample| (sample.value, sample.timestamp));
            (
                format!("{}{{{}}}", name.value, labels.join(",")),
                samples.collect(),
            )
        };
        request.series.into_iter().map(told).collect()
    }
}

/// The series of a request, and how many.
type Taken = (BTreeSet<String>, usize);

/// A receiver that answers as told, and with 200 after that.
#[derive(Clone, Debug, Default)]
struct Receiver {
    requests: Arc<Mutex<Vec<Request>>>,
    /// Every request with this series is refused as a whole.
    refuses: Option<&'static str>,
    /// What it took: the series of each request, and how many of them ended by it.
    taken: Arc<Mutex<Vec<Taken>>>,
    answers: Arc<Mutex<VecDeque<(StatusCode, &'static str)>>>,
}

impl Receiver {
    async fn start(
        answers: impl IntoIterator<Item = (StatusCode, &'static str)>,
    ) -> (Self, SocketAddr) {
        let receiver = Self::default();
        receiver.answers().extend(answers);
        receiver.listen().await
    }

    /// One that refuses every request with this series.
    async fn that_refuses(series: &'static str) -> (Self, SocketAddr) {
        let receiver = Self {
            refuses: Some(series),
            ..Self::default()
        };
        receiver.listen().await
    }

    async fn listen(self) -> (Self, SocketAddr) {
        install();
        let receiver = self;
        let app = Router::new().fallback(answer).with_state(receiver.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, address)
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, VecDeque<(StatusCode, &'static str)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Vec<(BTreeSet<String>, usize)>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for this.
    async fn until(&self, done: impl Fn(&[(BTreeSet<String>, usize)]) -> bool) {
        while !done(&self.taken()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// As `main` does.
fn install() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

async fn answer(
    State(receiver): State<Receiver>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let request = Request {
        path,
        headers,
        body,
    };
    if let Some(series) = receiver.refuses {
        let samples = request.samples();
        if samples.contains_key(series) {
            return (StatusCode::BAD_REQUEST, "out of bounds").into_response();
        }
        let ended = samples.values().filter(|all| all[0].0.is_nan()).count();
        receiver
            .taken()
            .push((samples.into_keys().collect(), ended));
    }
    receiver
        .requests
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request);
    let answer = receiver.answers().pop_front();
    let (status, text) = answer.unwrap_or((StatusCode::OK, ""));
    // What it says is also a header, where it is the text of one.
    match text.split_once(": ") {
        Some(("Retry-After", wait)) => (status, [("retry-after", wait)], text).into_response(),
        _ => (status, text).into_response(),
    }
}

fn config(push: &str) -> Config {
    let text = written(push);
    check::load(&text, "c.yaml", |_| None).unwrap_or_else(|problems| panic!("{problems}"))
}

fn written(push: &str) -> String {
    format!(
        "vault: {{address: 'http://127.0.0.1:8200', auth: {{token: {{env: VAULT_TOKEN}}}}}}
probes:
- name: kv
  static: {{authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober, refreshAfter: 2s}}
  steps: {{create: 5s, update: 2s}}
push: {push}
instance: test
"
    )
}

fn remote_write(address: SocketAddr) -> Config {
    config(&format!(
        "{{remoteWrite: {{url: 'http://{address}/api/v1/write'}}}}"
    ))
}

fn pushgateway(address: SocketAddr) -> Config {
    config(&format!(
        "{{pushgateway: {{url: 'http://{address}/below/'}}}}"
    ))
}

/// A run that took `create` well and, if there is a cause, failed at `update`.
fn run(minute: i64, cause: Option<Cause>) -> Run {
    let started = start() + SignedDuration::from_mins(minute);
    let report = |step: Step, cause: Option<Cause>| {
        let report = StepReport {
            started,
            due_seconds: step.poll_driven().then_some(0.125),
            lateness_seconds: step.poll_driven().then_some(0.125),
            ..report(step, 0.25)
        };
        match cause {
            Some(cause) => blamed(report, cause),
            None => report,
        }
    };
    Run {
        run: format!("run{minute}").into(),
        started,
        finished: started + SignedDuration::from_secs(1),
        ..kit::run(
            "kv",
            vec![report(Step::Create, None), report(Step::Update, cause)],
        )
    }
}

const LIMIT: Duration = Duration::from_secs(5);

async fn pushed(config: &Config, runs: &[Run]) -> Vec<Error> {
    push::once(config, runs, LIMIT).await
}

#[tokio::test]
async fn a_pushgateway_gets_a_group_a_step() {
    let (receiver, address) = Receiver::start([]).await;
    let errors = pushed(&pushgateway(address), &[run(0, None)]).await;
    assert!(errors.is_empty(), "{errors:?}");
    let requests = receiver.requests();
    let paths: Vec<_> = requests
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "/below/metrics/job/vso-prober/instance/test/probe/kv/step/create",
            "/below/metrics/job/vso-prober/instance/test/probe/kv/step/update",
        ]
    );
    assert_eq!(
        requests[1].headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    insta::assert_snapshot!(requests[1].text());
}

/// A configuration with labels of the user's, which pushes to both kinds of receivers.
fn labelled(address: SocketAddr) -> Config {
    let labels = BTreeMap::from([
        ("cluster".to_owned(), "prod eu".to_owned()),
        ("team".to_owned(), "a".to_owned()),
    ]);
    Config {
        labels,
        ..config(&format!(
            "{{pushgateway: {{url: 'http://{address}'}}, remoteWrite: {{url: 'http://{address}/write'}}}}"
        ))
    }
}

#[tokio::test]
async fn all_that_is_pushed_bears_the_labels() {
    let (receiver, address) = Receiver::start([]).await;
    let errors = pushed(&labelled(address), &[run(0, None)]).await;
    assert!(errors.is_empty(), "{errors:?}");
    for request in receiver.requests() {
        if request.path == "/write" {
            let samples = request.samples();
            let all = |label| samples.keys().all(|series| series.contains(label));
            assert!(all("cluster=prod eu") && all("team=a"), "{samples:?}");
        } else {
            assert!(
                request.path.ends_with("/cluster/prod%20eu/team/a"),
                "{}",
                request.path
            );
        }
    }
}

#[test]
fn labels_of_the_metrics_own_are_refused() {
    let publisher = Publisher::default();
    let configured = config("{}");
    publisher.publish(Fact::configured(&configured));
    publisher.publish(Fact::Run {
        run: Arc::new(run(0, Some(Cause::StaleContent))),
        correlations: BTreeMap::new(),
    });
    let text = publisher.expose(None).body;
    let text = String::from_utf8(text.to_vec()).expect("text");
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let own = series.filter_map(|line| line.split_once('{')?.1.split_once('}'));
    let own: BTreeSet<_> = own
        .flat_map(|(labels, _)| labels.split("\","))
        .filter_map(|label| Some(label.split_once("=\"")?.0))
        .collect();
    assert!(own.contains("probe") && own.contains("le"), "{own:?}");
    for label in own
        .into_iter()
        .chain(["job", "instance", "__name__", "1a", "a-b"])
    {
        let text = format!("labels: {{{label}: x}}\n{}", written("{}"));
        let refused = check::load(&text, "c.yaml", |_| None);
        let problems = refused.expect_err(label).to_string();
        assert!(
            problems.contains(&format!("`labels.{label}`")),
            "{problems}"
        );
    }
}

#[tokio::test]
async fn a_failed_run_leaves_the_last_success_alone() {
    let (receiver, address) = Receiver::start([]).await;
    let failed = run(1, Some(Cause::StaleContent));
    let errors = pushed(&pushgateway(address), &[failed]).await;
    assert!(errors.is_empty(), "{errors:?}");
    let requests = receiver.requests();
    let success = "vso_probe_last_success_timestamp_seconds";
    assert!(
        requests[0].text().contains(success),
        "`create` was a success"
    );
    let text = requests[1].text();
    assert!(!text.contains(success), "{text}");
    assert!(
        text.contains("vso_probe_success{kind=\"static\"} 0\n"),
        "{text}"
    );
    assert!(
        text.contains("vso_probe_last_failure_info{kind=\"static\",run=\"run1\",cause=\"stale_content\",party=\"operator\"} 1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn without_a_verdict_the_last_one_stays() {
    let (receiver, address) = Receiver::start([]).await;
    let unknown = run(1, Some(Cause::ProberStarved));
    let errors = pushed(&pushgateway(address), &[run(0, None), unknown]).await;
    assert!(errors.is_empty(), "{errors:?}");
    // Of two runs, the last word of each gauge goes out.
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    let text = requests[1].text();
    for line in [
        "vso_probe_success{kind=\"static\"} 1\n",
        "vso_probe_last_success_timestamp_seconds{kind=\"static\"} 1767225601\n",
        "vso_probe_last_run_timestamp_seconds{kind=\"static\"} 1767225661\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("last_failure"), "{text}");
}

#[tokio::test]
async fn remote_write_gets_a_sample_a_run_at_its_own_time() {
    let (receiver, address) = Receiver::start([]).await;
    let runs = [run(5, Some(Cause::StaleContent)), run(0, None)];
    let errors = pushed(&remote_write(address), &runs).await;
    assert!(errors.is_empty(), "{errors:?}");
    let [request] = &receiver.requests()[..] else {
        panic!("{:?}", receiver.requests());
    };
    for (name, value) in [
        ("content-encoding", "snappy"),
        ("content-type", "application/x-protobuf"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        (
            "user-agent",
            concat!("vso-prober/", env!("CARGO_PKG_VERSION")),
        ),
    ] {
        assert_eq!(request.headers[name], value);
    }
    let samples = request.samples();
    let at = "{instance=test,job=vso-prober,kind=static,probe=kv,step=update}";
    assert_eq!(
        samples[&format!("vso_probe_success{at}")],
        [(1.0, 1_767_225_601_000), (0.0, 1_767_225_901_000)]
    );
    assert_eq!(
        samples[&format!("vso_probe_last_success_timestamp_seconds{at}")],
        [(1_767_225_601.0, 1_767_225_601_000)]
    );
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let (receiver, address) = Receiver::start([
        (StatusCode::SERVICE_UNAVAILABLE, "not now"),
        (StatusCode::TOO_MANY_REQUESTS, "not so fast"),
    ])
    .await;
    let errors = pushed(&remote_write(address), &[run(0, None)]).await;
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test]
async fn what_is_refused_is_not_tried_again() {
    for status in [
        StatusCode::FORBIDDEN,
        StatusCode::UNAUTHORIZED,
        StatusCode::TEMPORARY_REDIRECT,
    ] {
        let (receiver, address) = Receiver::start([(status, "out of bounds")]).await;
        let errors = pushed(&remote_write(address), &[run(0, None)]).await;
        let [error] = &errors[..] else {
            panic!("{errors:?}");
        };
        let told = error.to_string();
        for word in [
            "series by remote write",
            &address.to_string(),
            status.as_str(),
            "out of bounds",
        ] {
            assert!(told.contains(word), "{told}");
        }
        assert_eq!(receiver.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn the_token_goes_along_and_is_never_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "hush-hush\n").expect("a file");
    let (receiver, address) =
        Receiver::start([(StatusCode::FORBIDDEN, "no such token: hush-hush")]).await;
    let mut config = remote_write(address);
    let remote = config.push.remote_write.as_mut().expect("it is there");
    remote.credential = Some(Credential::Bearer(file.clone()));
    let errors = pushed(&config, &[run(0, None)]).await;
    let told = format!("{} {:?}", errors[0], errors);
    assert!(!told.contains("hush"), "{told}");
    assert!(told.contains("no such token"), "{told}");
    assert_eq!(
        receiver.requests()[0].headers["authorization"],
        "Bearer hush-hush"
    );

    std::fs::write(&file, "hush\nhush").expect("a file");
    let errors = pushed(&config, &[run(0, None)]).await;
    let told = errors[0].to_string();
    assert!(
        told.contains("bearerTokenFile") && !told.contains("hush"),
        "{told}"
    );
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn who_is_not_there_is_given_up_in_time() {
    install();
    let config = config(
        "{pushgateway: {url: 'http://127.0.0.1:9'}, remoteWrite: {url: 'http://127.0.0.1:9/w?key=secret'}}",
    );
    let begun = tokio::time::Instant::now();
    let errors = push::once(&config, &[run(0, None)], Duration::from_secs(1)).await;
    assert_eq!(errors.len(), 2);
    assert!(tokio::time::Instant::now() - begun < Duration::from_secs(3));
    for error in errors {
        let told = error.to_string();
        assert!(
            told.contains("http://127.0.0.1:9") && !told.contains("secret"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn the_registry_is_written_and_ends_stale() {
    let (receiver, address) = Receiver::start([]).await;
    let publisher = Arc::new(Publisher::default());
    publisher.publish(Fact::Configured {
        probes: remote_write(address).probes,
        operator_metrics: false,
    });
    publisher.publish(Fact::Standing(Standing::Leads));
    let endpoint = Endpoint {
        url: format!("http://{address}/api/v1/write"),
        ..Endpoint::default()
    };
    let remote = Remote::new(&endpoint, "test").expect("a URL");
    let over = Shutdown::default();
    let task = tokio::spawn(remote.run(publisher.clone(), over.clone()));
    while receiver.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    publisher.publish(Fact::Run {
        run: Arc::new(run(0, None)),
        correlations: BTreeMap::new(),
    });
    over.ask();
    task.await.expect("it ends");

    let requests = receiver.requests();
    let (first, last) = (
        requests[0].samples(),
        requests[requests.len() - 1].samples(),
    );
    let count = "vso_probe_latency_seconds_count{instance=test,job=vso-prober,kind=static,probe=kv,step=create}";
    let bucket = "vso_probe_latency_seconds_bucket{instance=test,job=vso-prober,kind=static,le=0.25,probe=kv,step=create}";
    assert!(matches!(first[count][..], [(0.0, _)]), "{:?}", first[count]);
    for series in [count, bucket] {
        let [(value, at), (end, ended)] = last[series][..] else {
            panic!("{:?}", last[series]);
        };
        assert!((value - 1.0).abs() < f64::EPSILON && ended == at + 1);
        assert_eq!(end.to_bits(), 0x7ff0_0000_0000_0002);
    }
}

/// The same series by a scrape (Prometheus asks for OpenMetrics) and by remote write: `le="1.0"` and `le="1"` would be two.
#[tokio::test]
async fn edges_are_spelled_as_in_a_scrape() {
    let (receiver, address) = Receiver::start([]).await;
    let publisher = published(address);
    let (over, task) = sending(address, &publisher);
    while receiver.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    over.ask();
    task.await.expect("it ends");
    let exposition = publisher.expose(Some("application/openmetrics-text"));
    let text = String::from_utf8(exposition.body.to_vec()).expect("text");
    let scraped: BTreeSet<_> = text
        .split("le=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next().map(str::to_owned))
        .collect();
    let written: BTreeSet<_> = receiver.requests()[0]
        .samples()
        .into_keys()
        .filter_map(|series| {
            let (_, rest) = series.split_once("le=")?;
            rest.split([',', '}']).next().map(str::to_owned)
        })
        .collect();
    assert!(scraped.contains("1.0") && scraped.len() > 20, "{scraped:?}");
    assert_eq!(written, scraped);
}

/// All else arrives, what was refused costs a request each time, and what goes is told to be stale once.
#[tokio::test]
async fn a_series_that_is_refused_holds_up_nothing() {
    const BAD: &str =
        "vso_probe_success{instance=test,job=vso-prober,kind=static,probe=kv,step=update}";
    let (receiver, address) = Receiver::that_refuses(BAD).await;
    let publisher = published(address);
    let (over, task) = sending(address, &publisher);
    let all = {
        let (receiver, address) = Receiver::start([]).await;
        let (over, task) = sending(address, &publisher);
        while receiver.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        over.ask();
        task.await.expect("it ends");
        receiver.requests()[0].samples().len()
    };
    assert!(all > 100, "{all}");
    // From some time on in one request, with all but one.
    receiver
        .until(|taken| {
            taken
                .last()
                .is_some_and(|(series, _)| series.len() == all - 1)
        })
        .await;

    publisher.publish(Fact::Configured {
        probes: Vec::new(),
        operator_metrics: false,
    });
    receiver
        .until(|taken| taken.last().is_some_and(|(_, ended)| *ended > 100))
        .await;
    let told = receiver.taken().len();
    receiver.until(|taken| taken.len() > told + 3).await;
    let ended: usize = receiver.taken()[told..]
        .iter()
        .map(|(_, ended)| ended)
        .sum();
    assert_eq!(ended, 0, "markers end");
    over.ask();
    task.await.expect("it ends");
}

#[tokio::test]
async fn a_receiver_is_left_alone_as_long_as_it_asks() {
    let (receiver, address) = Receiver::start([
        (StatusCode::TOO_MANY_REQUESTS, "Retry-After: 1"),
        (StatusCode::SERVICE_UNAVAILABLE, "Retry-After: 60"),
    ])
    .await;
    let begun = tokio::time::Instant::now();
    let errors = pushed(&remote_write(address), &[run(0, None)]).await;
    // It waited for the second, and not for the minute, for which there was no time.
    let took = tokio::time::Instant::now() - begun;
    assert!(took >= Duration::from_secs(1) && took < LIMIT, "{took:?}");
    assert_eq!(errors.len(), 1);
    assert_eq!(receiver.requests().len(), 2);
}

fn published(address: SocketAddr) -> Arc<Publisher> {
    let publisher = Arc::new(Publisher::default());
    publisher.publish(Fact::Configured {
        probes: remote_write(address).probes,
        operator_metrics: false,
    });
    publisher.publish(Fact::Standing(Standing::Leads));
    publisher.publish(Fact::Run {
        run: Arc::new(run(0, None)),
        correlations: BTreeMap::new(),
    });
    publisher
}

/// Sends what is published, often.
fn sending(address: SocketAddr, publisher: &Arc<Publisher>) -> (Shutdown, JoinHandle<()>) {
    let config = remote_write(address);
    let endpoint = config.push.remote_write.as_ref().expect("it is there");
    let remote = Remote::new(endpoint, "test").expect("a URL");
    // One write must fit in between, on a busy machine too.
    let remote = remote.every(Duration::from_millis(500));
    let over = Shutdown::default();
    let task = tokio::spawn(remote.run(publisher.clone(), over.clone()));
    (over, task)
}

#[tokio::test]
async fn a_series_that_is_refused_is_named() {
    const BAD: &str =
        "vso_probe_success{instance=test,job=vso-prober,kind=static,probe=kv,step=update}";
    let (receiver, address) = Receiver::that_refuses(BAD).await;
    let errors = pushed(&remote_write(address), &[run(0, None)]).await;
    let [error] = &errors[..] else {
        panic!("{errors:?}");
    };
    let told = error.to_string();
    for word in [
        "the series `vso_probe_success{",
        "step=\"update\"",
        "out of bounds",
    ] {
        assert!(told.contains(word), "{told}");
    }
    let arrived: BTreeSet<_> = receiver
        .requests()
        .iter()
        .flat_map(Request::samples)
        .map(|(series, _)| series)
        .collect();
    assert!(!arrived.contains(BAD) && arrived.contains(&BAD.replace("update", "create")));
}

/// With a name, a password and headers, to both receivers; what lets in is never told.
#[tokio::test]
async fn a_name_a_password_and_headers_go_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).expect("a file");
        file.display().to_string()
    };
    let (password, tenant) = (
        write("password", "open sesame\n"),
        write("tenant", "team-a\n"),
    );
    let (receiver, address) = Receiver::start([(
        StatusCode::FORBIDDEN,
        "not by open sesame, cHJvYmVyOm9wZW4gc2VzYW1l, team-a",
    )])
    .await;
    let with = format!(
        "basicAuth: {{username: prober, passwordFile: {password}}}, headers: {{X-Scope-OrgID: {{file: {tenant}}}}}"
    );
    for push in [
        format!("{{remoteWrite: {{url: 'http://{address}/api/v1/push', {with}}}}}"),
        format!("{{pushgateway: {{url: 'http://{address}', {with}}}}}"),
    ] {
        for error in pushed(&config(&push), &[run(0, None)]).await {
            let told = format!("{error} {error:?}");
            assert!(told.contains("not by"), "{told}");
            for secret in ["sesame", "cHJv", "team-a"] {
                assert!(!told.contains(secret), "{told}");
            }
        }
    }
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert_eq!(
            request.headers["authorization"],
            "Basic cHJvYmVyOm9wZW4gc2VzYW1l"
        );
        assert_eq!(request.headers["x-scope-orgid"], "team-a");
    }
}

/// A receiver with a certificate of its own, which is asked for as its CA. It counts who gets through.
async fn tls_receiver() -> (String, SocketAddr, Arc<AtomicUsize>) {
    let names = vec!["127.0.0.1".to_owned()];
    let own = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("they fit");
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let taken = Arc::new(AtomicUsize::default());
    let count = taken.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut beginning = [0; 1000];
            let _ = stream.read(&mut beginning).await;
            count.fetch_add(1, Ordering::Relaxed);
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (own.cert.pem(), address, taken)
}

/// Nothing goes to who can't be told, and a CA that comes later counts.
#[tokio::test]
async fn a_receivers_ca_may_change() {
    install();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    let (own, address, taken) = tls_receiver().await;
    let (foreign, ..) = tls_receiver().await;
    std::fs::write(&file, foreign).expect("a file");
    let endpoint = Endpoint {
        url: format!("https://{address}/"),
        ca_file: Some(file.clone()),
        ..Endpoint::default()
    };
    let remote = Remote::new(&endpoint, "test").expect("a URL and a CA");
    let remote = remote.every(Duration::from_millis(500));
    let over = Shutdown::default();
    let publisher = published(address);
    let task = tokio::spawn(remote.run(publisher, over.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(taken.load(Ordering::Relaxed), 0);
    std::fs::write(&file, own).expect("a file");
    while taken.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    over.ask();
    task.await.expect("it ends");
}
