//! The forwarding of audit lines to the intake of another prober, each at least once.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Client, StatusCode, Url};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::intake::body::line;
use super::{Batch, Piece, SourceName};
use crate::model::text::Text;
use crate::retry::Retry;
use crate::wire::causes;
use crate::wire::http::{bearer, beginning, builder, credential_aside};

/// How long one request may take: the other side answers when the lines are on disk.
const LIMIT: Duration = Duration::from_secs(60);
/// Sends batches to an intake.
#[derive(Debug)]
pub struct Forwarder {
    client: Client,
    url: Url,
    token_file: Option<PathBuf>,
}

/// Why an intake is not sent to any more: it refuses, and will go on to.
#[derive(Debug, thiserror::Error)]
#[error("tried to send audit lines to {url}, but it answered {status}: {why}")]
pub struct Refused {
    url: String,
    status: StatusCode,
    why: Text,
}

/// What became of one request.
enum Sent {
    Taken,
    TooLarge,
    /// Not now, and why.
    Later(String),
}

impl Forwarder {
    /// Sends the lines of this source to the prober at `to`.
    ///
    /// # Errors
    /// The URL or the CA file can't be used.
    pub fn new(
        source: &SourceName,
        to: &str,
        token_file: Option<PathBuf>,
        ca_file: Option<&Path>,
    ) -> Result<Self, String> {
        let mut url = Url::parse(to).map_err(|error| format!("`--to` is not a URL: {error}"))?;
        let bad = "`--to` must begin with `http://` or `https://`, such as `https://vso-prober-audit:9466`";
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(bad.to_owned());
        }
        let mut path = url.path_segments_mut().map_err(|()| bad.to_owned())?;
        path.pop_if_empty().extend(["api", "v1", "audit", source]);
        drop(path);
        let client = builder(to, ca_file.map(|file| ("--ca-file", file)))?;
        let client = client.timeout(LIMIT).build();
        Ok(Self {
            client: client.map_err(|error| causes(&error))?,
            url,
            token_file,
        })
    }

    /// Sends what comes, and acknowledges what was taken, until nothing comes any more.
    ///
    /// # Errors
    /// The intake refuses the source or the credential.
    pub async fn run(&self, mut batches: mpsc::Receiver<Batch>) -> Result<(), Refused> {
        while let Some(batch) = batches.recv().await {
            self.send(batch.pieces.into()).await?;
            batch.receipt.acknowledge();
        }
        Ok(())
    }

    /// Sends pieces, in halves where they are too large, until they are taken.
    async fn send(&self, pieces: Arc<[Piece]>) -> Result<(), Refused> {
        let mut parts = vec![pieces];
        let mut retry = Retry::default();
        let mut failing: Option<String> = None;
        while let Some(part) = parts.pop() {
            match self.post(part.clone()).await? {
                Sent::Taken => {
                    if failing.take().is_some() {
                        tracing::info!("audit lines are taken again");
                    }
                    retry.reset();
                }
                Sent::TooLarge => match &*part {
                    [Piece::Line(line)] => {
                        let bytes = line.len() as u64;
                        tracing::warn!(
                            bytes,
                            "a line is too long for the intake: telling so in its place"
                        );
                        parts.push([Piece::TooLong { bytes }].into());
                    }
                    [] | [_] => {}
                    several => {
                        let (first, second) = several.split_at(several.len() / 2);
                        parts.extend([second.into(), first.into()]);
                    }
                },
                Sent::Later(why) => {
                    // Once for each reason.
                    if failing.as_ref() != Some(&why) {
                        tracing::warn!(why, "audit lines are not taken; trying again");
                        failing = Some(why);
                    }
                    parts.push(part);
                    retry.wait().await;
                }
            }
        }
        Ok(())
    }

    /// Posts once.
    async fn post(&self, pieces: Arc<[Piece]>) -> Result<Sent, Refused> {
        let Ok(Ok(body)) = spawn_blocking(move || packed(&pieces)).await else {
            return Ok(Sent::Later("could not compress them".to_owned()));
        };
        let mut request = self.client.post(self.url.clone());
        if let Some(file) = &self.token_file {
            match credential_aside("`--token-file`", file).await {
                Ok(token) => request = request.header("Authorization", bearer(&token)),
                Err(why) => return Ok(Sent::Later(why)),
            }
        }
        let request = request
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header(CONTENT_ENCODING, "gzip")
            .body(body);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Ok(Sent::Later(causes(&error.without_url()))),
        };
        let status = answer.status();
        Ok(match status {
            _ if status.is_success() => Sent::Taken,
            StatusCode::PAYLOAD_TOO_LARGE => Sent::TooLarge,
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                return Err(Refused {
                    url: self.url.to_string(),
                    status,
                    why: Text::new(&beginning(answer).await),
                });
            }
            _ => Sent::Later(format!("{status}: {}", Text::new(&beginning(answer).await))),
        })
    }
}

/// The pieces as NDJSON, compressed.
fn packed(pieces: &[Piece]) -> std::io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    for piece in pieces {
        packed.write_all(&line(piece))?;
        packed.write_all(b"\n")?;
    }
    packed.finish()
}
