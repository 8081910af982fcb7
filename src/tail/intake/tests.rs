//! Tests of the intake: what shippers send, and what is answered.

use axum::http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::super::{Batch, Piece};
use super::*;

const LINE: &str = r#"{"time":"2026-11-24T10:00:54.9Z","type":"request","request":{"id":"1","path":"kvv2/data/a"}}"#;

/// An intake for the source `vault-1`, and the batches that it takes.
fn intake(token: Option<PathBuf>) -> (Router, mpsc::Receiver<Batch>) {
    let (outlet, batches) = Outlet::new();
    let mut intake = Intake::new(outlet);
    intake.add(&SourceName::from("vault-1"), None);
    (intake.router(token), batches)
}

/// Sends a body with these headers; what is answered, with its text.
async fn send(
    router: &Router,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (StatusCode, String) {
    let mut request = Request::post("/api/v1/audit/vault-1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("a request");
    let answer = router.clone().oneshot(request).await.expect("never fails");
    let status = answer.status();
    let text = answer
        .into_body()
        .collect()
        .await
        .expect("it ends")
        .to_bytes();
    (status, String::from_utf8(text.to_vec()).expect("UTF-8"))
}

/// Acknowledges all batches, and returns their lines.
fn acknowledge(mut batches: mpsc::Receiver<Batch>) -> tokio::task::JoinHandle<Vec<Piece>> {
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Some(batch) = batches.recv().await {
            taken.extend(batch.pieces);
            batch.receipt.acknowledge();
        }
        taken
    })
}

#[tokio::test]
async fn what_is_acknowledged_is_answered_with_204_and_nothing_else_is() {
    let (router, mut batches) = intake(None);
    let sending = tokio::spawn({
        let router = router.clone();
        async move { send(&router, &[], LINE).await.0 }
    });
    let batch = batches.recv().await.expect("a batch");
    assert_eq!(batch.source, "vault-1");
    assert_eq!(batch.pieces, [Piece::Line(LINE.into())]);
    tokio::task::yield_now().await;
    assert!(!sending.is_finished(), "it is not on disk yet");
    batch.receipt.acknowledge();
    assert_eq!(sending.await.expect("an answer"), StatusCode::NO_CONTENT);
    let sending = tokio::spawn({
        let router = router.clone();
        async move { send(&router, &[], LINE).await.0 }
    });
    drop(batches.recv().await);
    assert_eq!(
        sending.await.expect("an answer"),
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test(start_paused = true)]
async fn who_comes_when_it_is_behind_is_told_when_to_come_again() {
    let (router, _batches) = intake(None);
    let request = Request::post("/api/v1/audit/vault-1").body(Body::from(LINE));
    let answer = router
        .oneshot(request.expect("a request"))
        .await
        .expect("never fails");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()[header::RETRY_AFTER], RETRY_AFTER);
}

/// As Vector 0.51's sink `http` sends them: `codec: json` with `framing: newline_delimited`, its default array, and
/// `codec: text`.
#[tokio::test]
async fn vector_bodies() {
    let (router, batches) = intake(None);
    let taken = acknowledge(batches);
    let event = format!(
        r#"{{"file":"/vault/audit/audit.log","host":"vault-0","message":{},"source_type":"file","timestamp":"2026-11-24T10:00:55Z"}}"#,
        serde_json::to_string(LINE).expect("JSON")
    );
    let json = [("content-type", "application/json")];
    let ndjson = [("content-type", "application/x-ndjson")];
    let text = [("content-type", "text/plain")];
    for (headers, body) in [
        (&ndjson, format!("{event}\n{event}\n")),
        (&json, format!("[{event},{event}]")),
        (&text, format!("{LINE}\n{LINE}\n")),
    ] {
        assert_eq!(send(&router, headers, body).await.0, StatusCode::NO_CONTENT);
    }
    // An empty array, by which Vector asks whether the sink is healthy.
    assert_eq!(send(&router, &json, "[]").await.0, StatusCode::NO_CONTENT);
    drop(router);
    let taken = taken.await.expect("it ends");
    assert_eq!(taken, vec![Piece::Line(LINE.into()); 6]);
}

/// As Fluent Bit 4's output `http` sends them: `Format json`, `json_lines`, and its default, msgpack.
#[tokio::test]
async fn fluent_bit_bodies() {
    let (router, batches) = intake(None);
    let taken = acknowledge(batches);
    let log = serde_json::to_string(LINE).expect("JSON");
    let event = format!(r#"{{"date":1795514454.910773,"log":{log}}}"#);
    let json = [("content-type", "application/json")];
    let ndjson = [("content-type", "application/x-ndjson")];
    assert_eq!(
        send(&router, &json, format!("[{event},{event}]")).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        send(&router, &ndjson, format!("{event}\n{event}\n"))
            .await
            .0,
        StatusCode::NO_CONTENT
    );
    let msgpack = [("content-type", "application/msgpack")];
    for headers in [msgpack.as_slice(), &[]] {
        let (status, why) = send(&router, headers, vec![0x92, 0xd7, 0, 1, 2, 3, 4]).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(why.contains("json_lines"), "{why}");
    }
    drop(router);
    assert_eq!(taken.await.expect("it ends").len(), 4);
}

/// What Fluent Bit 5.1.1 sent of a recorded log, in each of its formats.
#[tokio::test]
async fn recorded_fluent_bit_bodies() {
    macro_rules! recorded {
        ($name:literal) => {
            include_bytes!(concat!("../../../tests/audit/recorded/", $name)).as_slice()
        };
    }
    let log = recorded!("openbao-refused-logins.jsonl").split(|byte| *byte == b'\n');
    let log: Vec<_> = log
        .filter(|line| !line.is_empty())
        .map(|line| Piece::Line(Bytes::from_static(line)))
        .collect();
    let json = [("content-type", "application/json")].as_slice();
    let ndjson = [("content-type", "application/x-ndjson")].as_slice();
    let packed = [
        ("content-type", "application/x-ndjson"),
        ("content-encoding", "gzip"),
    ];
    for (headers, body) in [
        (json, recorded!("fluent-bit-5.1.1-json.body")),
        (json, recorded!("fluent-bit-5.1.1-json_stream.body")),
        (ndjson, recorded!("fluent-bit-5.1.1-json_lines.body")),
        (&packed, recorded!("fluent-bit-5.1.1-json_lines.gz")),
    ] {
        let (router, batches) = intake(None);
        let taken = acknowledge(batches);
        let (status, why) = send(&router, headers, body).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{headers:?}: {why}");
        drop(router);
        assert_eq!(taken.await.expect("it ends"), log, "{headers:?}");
    }
    let (router, _batches) = intake(None);
    let msgpack = [("content-type", "application/msgpack")];
    let body = recorded!("fluent-bit-5.1.1-msgpack.body");
    let (status, why) = send(&router, &msgpack, body).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(why.contains("json_lines"), "{why}");
}

#[tokio::test]
async fn a_bad_line_is_never_the_senders_fault() {
    let (router, batches) = intake(None);
    let taken = acknowledge(batches);
    assert_eq!(
        send(&router, &[], &LINE[..30]).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        send(&router, &[], vec![b'{', 0xff, 0xfe]).await.0,
        StatusCode::NO_CONTENT
    );
    drop(router);
    assert_eq!(taken.await.expect("it ends").len(), 2);
}

#[tokio::test]
async fn a_body_has_a_limit_packed_and_unpacked() {
    let (router, batches) = intake(None);
    let taken = acknowledge(batches);
    let blank = vec![b' '; LARGEST + 1];
    assert_eq!(
        send(&router, &[], blank.clone()).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let gzip = |content: &[u8]| {
        use std::io::Write as _;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(content).expect("a Vec takes everything");
        packed.finish().expect("a Vec takes everything")
    };
    let headers = [("content-encoding", "gzip")];
    assert_eq!(
        send(&router, &headers, gzip(&blank)).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        send(&router, &headers, gzip(LINE.as_bytes())).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        send(&router, &[("content-encoding", "br")], LINE).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    drop(router);
    assert_eq!(taken.await.expect("it ends"), [Piece::Line(LINE.into())]);
}

#[tokio::test]
async fn nobody_is_heard_without_the_secret_or_for_a_source_that_is_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret\n").expect("written");
    let (router, batches) = intake(Some(file.clone()));
    let taken = acknowledge(batches);
    for wrong in [
        "",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3crets",
        "Basic s3cret",
    ] {
        let (status, why) = send(&router, &[("authorization", wrong)], LINE).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert!(!why.contains("s3cret"));
    }
    let right = [("authorization", "Bearer s3cret")];
    assert_eq!(send(&router, &right, LINE).await.0, StatusCode::NO_CONTENT);
    std::fs::write(&file, "other").expect("written");
    assert_eq!(
        send(&router, &right, LINE).await.0,
        StatusCode::UNAUTHORIZED
    );
    drop(router);
    assert_eq!(taken.await.expect("it ends").len(), 1);
    let (router, _batches) = intake(None);
    let request = Request::post("/api/v1/audit/vault-2").body(Body::from(LINE));
    let answer = router
        .oneshot(request.expect("a request"))
        .await
        .expect("never fails");
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

/// Whoever has no secret is answered at once, and may be sent away for another.
#[tokio::test]
async fn a_crowd_without_the_secret_keeps_no_sender_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret").expect("written");
    let (outlet, batches) = Outlet::new();
    let mut intake = Intake::new(outlet);
    intake.add(&SourceName::from("vault-1"), None);
    let taken = acknowledge(batches);
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let server = AuditServer {
        listen: free.expect("an address"),
        tls: None,
        bearer_token_file: Some(token),
    };
    let shutdown = Shutdown::default();
    let serving = intake.listen(&server, shutdown.clone()).await;
    let serving = tokio::spawn(serving.expect("it listens"));
    let connect = async || TcpStream::connect(server.listen).await.expect("it listens");
    let request = |token: &str| {
        let length = LINE.len();
        format!(
            "POST /api/v1/audit/vault-1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut crowd = Vec::new();
    for number in 0..200 {
        let mut idle = connect().await;
        if number % 2 == 0 {
            // Its body never comes.
            let asks = request("guess");
            idle.write_all(asks.as_bytes()).await.expect("written");
        }
        crowd.push(idle);
    }
    let mut sender = connect().await;
    let asks = request("s3cret") + LINE;
    sender.write_all(asks.as_bytes()).await.expect("written");
    let mut answer = [0; 12];
    let read = timeout(Duration::from_secs(10), sender.read_exact(&mut answer));
    read.await.expect("an answer").expect("read");
    assert_eq!(&answer, b"HTTP/1.1 204");
    shutdown.ask();
    drop((crowd, sender, intake));
    serving.await.expect("it ends");
    assert_eq!(taken.await.expect("it ends"), [Piece::Line(LINE.into())]);
}
