//! A container whose log is read as it grows, over its restarts.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncBufRead, AsyncBufReadExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, LogParams};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Troubles;
use super::cut::{Cut, Line};
use super::kept::Mark;
use super::way::Way;
use crate::kubernetes;
use crate::model::text::Text;
use crate::retry::Retry;
use crate::tail::{Gap, Piece};

/// How long lines are gathered, and how many bytes, before they are handed on.
const GATHER: Duration = Duration::from_millis(100);
const ENOUGH: usize = 1 << 20;
/// How often a log that has ended is opened again, at most.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a log may take to be refused. Of one that has no lines yet, the kubelet says nothing until the first.
const REFUSAL: Duration = Duration::from_secs(5);

/// A container of a Pod.
pub(super) struct Container {
    pub(super) pods: Api<Pod>,
    pub(super) pod: String,
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) way: Way,
    pub(super) troubles: Troubles,
}

/// What has become of it.
enum Is {
    /// It was read to its end, as far as it goes.
    Read,
    /// The connection broke before.
    Cut,
    /// It has no container now.
    Idle,
    /// Its Pod is gone.
    Gone,
}

impl Container {
    /// The container of a Pod that is meant: the one that is `wanted`, or the only one.
    pub(super) fn of(pod: &Pod, wanted: Option<&str>) -> Result<String, Text> {
        let spec = pod.spec.as_ref();
        let names = spec.into_iter().flat_map(|spec| &spec.containers);
        let names: Vec<_> = names.map(|container| container.name.as_str()).collect();
        let pod = pod.name_any();
        match (wanted, names.as_slice()) {
            (Some(wanted), names) if names.contains(&wanted) => Ok(wanted.to_owned()),
            (Some(wanted), _) => Err(format!("the Pod `{pod}` has no container `{wanted}`").into()),
            (None, [only]) => Ok((*only).to_owned()),
            (None, names) => Err(format!(
                "the Pod `{pod}` has the containers {}; name one by `container`",
                names.join(", ")
            )
            .into()),
        }
    }

    /// Reads it until its Pod is gone.
    pub(super) async fn follow(&self) {
        let mut retry = Retry::default();
        let mut openings = interval(AGAIN);
        openings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut whole = false;
        loop {
            openings.tick().await;
            let is = match self.read_on().await {
                Ok(Is::Gone) => self.way.end(&self.uid, whole).await.map(|()| Is::Gone),
                is => is,
            };
            self.troubles.say(&self.uid, is.as_ref().err().cloned());
            match is {
                Ok(Is::Gone) => return,
                Ok(is) => {
                    whole = matches!(is, Is::Read) || (whole && matches!(is, Is::Idle));
                    retry.reset();
                }
                Err(_) => {
                    whole = false;
                    retry.wait().await;
                }
            }
        }
    }

    /// Reads what there is, to the end of the log or of the connection.
    async fn read_on(&self) -> Result<Is, Text> {
        // It is listed by its name, for that needs no further right.
        let params = ListParams::default().fields(&format!("metadata.name={}", self.pod));
        let found = self.pods.list(&params).await;
        let found = found.map_err(|error| {
            let what = format!("list the Pod `{}`", self.pod);
            kubernetes::obstacle(&what, &error).text
        })?;
        let own = |pod: &Pod| pod.metadata.uid.as_ref() == Some(&self.uid);
        let Some(pod) = found.items.into_iter().find(own) else {
            return Ok(Is::Gone);
        };
        let status = pod.status.unwrap_or_default();
        let statuses = status.container_statuses.unwrap_or_default();
        let status = statuses.into_iter().find(|status| status.name == self.name);
        let Some((now, status)) = status.and_then(|status| {
            let id = status.container_id.clone().filter(|id| !id.is_empty())?;
            Some((id, status))
        }) else {
            return Ok(Is::Idle);
        };
        let mark = match self.way.kept.of(&self.uid) {
            Some(mark) if mark.container == now => mark,
            Some(mark) => match self.read_rest(mark, &status).await? {
                Is::Read => self.anew(now).await?,
                cut => return Ok(cut),
            },
            None => self.anew(now).await?,
        };
        self.read(mark, false).await
    }

    /// Reads the rest of what was written before the container began anew, if that is there still.
    async fn read_rest(&self, mark: Mark, status: &ContainerStatus) -> Result<Is, Text> {
        let last = status.last_state.as_ref();
        let last = last.and_then(|state| state.terminated.as_ref());
        let last = last.and_then(|ended| ended.container_id.as_deref());
        if last == Some(mark.container.as_str()) {
            return self.read(mark, true).await;
        }
        let gap = vec![Piece::Gap(Gap::Vanished)];
        self.way.hand_on(&self.uid, gap, None).await?;
        Ok(Is::Read)
    }

    /// The container with this ID is read from its beginning.
    async fn anew(&self, container: String) -> Result<Mark, Text> {
        let mark = Mark {
            container,
            ..Mark::default()
        };
        self.way.save(&self.uid, Some(mark.clone())).await?;
        Ok(mark)
    }

    /// Opens the log where it is to be read on. That is no trouble any more once it is open, however long it is read then.
    async fn open(&self, since: Timestamp, previous: bool) -> Result<impl AsyncBufRead, Text> {
        let params = LogParams {
            container: Some(self.name.clone()),
            follow: true,
            previous,
            timestamps: true,
            // It is asked for in whole seconds, and must not be rounded up.
            since_time: Timestamp::from_second(since.as_second()).ok(),
            ..LogParams::default()
        };
        let mut opening = pin!(self.pods.log_stream(&self.pod, &params));
        let opened = if let Ok(opened) = timeout(REFUSAL, &mut opening).await {
            opened
        } else {
            self.troubles.say(&self.uid, None);
            opening.await
        };
        let opened = opened.map_err(|error| {
            let what = format!("read the log of the Pod `{}`", self.pod);
            kubernetes::obstacle(&what, &error).text
        })?;
        self.troubles.say(&self.uid, None);
        Ok(opened)
    }

    /// Reads from the mark on, and hands on.
    async fn read(&self, mark: Mark, previous: bool) -> Result<Is, Text> {
        let since = mark.time.unwrap_or_else(|| self.way.kept.since());
        let mut stream = pin!(self.open(since, previous).await?);
        let mut cut = Cut::new(mark);
        let mut line = Vec::new();
        let mut pieces = Vec::new();
        let mut bytes = 0;
        loop {
            let reading = stream.read_until(b'\n', &mut line);
            let read = if pieces.is_empty() {
                Some(reading.await)
            } else {
                timeout(GATHER, reading).await.ok()
            };
            let Some(read) = read else {
                // What was read of a line by then stays in it.
                bytes = 0;
                let pieces = std::mem::take(&mut pieces);
                self.way
                    .hand_on(&self.uid, pieces, Some(cut.mark()))
                    .await?;
                continue;
            };
            let whole = read.is_ok();
            let ended = !whole || !line.ends_with(b"\n");
            let text = line.strip_suffix(b"\n").filter(|_| !ended);
            match text.map(|text| cut.take(text)) {
                None | Some(Line::Old) => {}
                Some(Line::New(text)) => {
                    bytes += text.len();
                    pieces.push(Piece::Line(Bytes::copy_from_slice(text)));
                }
                Some(Line::AfterGap(text)) => {
                    pieces.push(Piece::Gap(Gap::Vanished));
                    pieces.push(Piece::Line(Bytes::copy_from_slice(text)));
                }
            }
            line.clear();
            if ended || bytes >= ENOUGH {
                bytes = 0;
                let pieces = std::mem::take(&mut pieces);
                self.way
                    .hand_on(&self.uid, pieces, Some(cut.mark()))
                    .await?;
            }
            if ended {
                // Where the connection broke, it is opened again, and only that can fail.
                return Ok(if whole { Is::Read } else { Is::Cut });
            }
        }
    }
}
