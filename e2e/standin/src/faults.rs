//! Misbehaviour on demand: what `PUT /faults` takes, and how the rest asks for it.
//!
//! The document replaces the one before; `{}` is a healthy operator. A key that is not known is refused.
//!
//! | key | what then happens |
//! |---|---|
//! | `hang: true` | every reconcile stops before its first step, until this is taken back |
//! | `slow: {at, seconds}` | waits that long at `login`, `read`, `write` (of the Secret), `status` or `finalizer` |
//! | `ignore: ["x"]` | resources with that name, or one that begins so, are passed over in silence |
//! | `ignoreNext: n` | the next n new resources are passed over, until another document is put |
//! | `content: "old"` | a Secret once written keeps that content, whatever Vault says |
//! | `content: "wrong"` | every value of a Secret is written as `wrong` |
//! | `leakLeases: true` | a deleted dynamic secret keeps its lease |
//! | `stickFinalizer: true` | a deleted resource keeps its finalizer |
//! | `rotateLate: "2s"` | a lease is let run out, and its credential replaced that long after |
//! | `rewriteEvery: "1s"` | each Secret is written that often: a static one with the same data and a new annotation, a dynamic one with a new credential, a PKI one with a new certificate |
//! | `omitNotAfter: true` | a certificate without a `notAfter` is asked for without an empty one, which OpenBao would refuse |

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use vso_prober::operator::api::go_duration;

/// What goes wrong.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a document of switches, each on its own"
)]
pub(crate) struct Faults {
    /// Stops every reconcile.
    pub(crate) hang: bool,
    /// Waits at one place.
    pub(crate) slow: Option<Slow>,
    /// Names, or how they begin, of resources to pass over.
    pub(crate) ignore: Vec<String>,
    /// How many new resources to pass over from now.
    pub(crate) ignore_next: u32,
    /// What is written instead of the truth.
    pub(crate) content: Option<Content>,
    /// Keeps the leases of deleted resources.
    pub(crate) leak_leases: bool,
    /// Keeps the finalizers of deleted resources.
    pub(crate) stick_finalizer: bool,
    /// Comes back for a lease this long after its end.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "print_duration",
        deserialize_with = "read_duration"
    )]
    pub(crate) rotate_late: Option<Duration>,
    /// Writes every Secret this often.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "print_duration",
        deserialize_with = "read_duration"
    )]
    pub(crate) rewrite_every: Option<Duration>,
    /// Asks for certificates without an empty `not_after`.
    pub(crate) omit_not_after: bool,
}

/// A wait at one place.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slow {
    /// Where.
    pub(crate) at: Place,
    /// How long.
    pub(crate) seconds: f64,
}

/// A place to be slow at.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    /// Before the login to Vault.
    Login,
    /// Before a read from Vault.
    Read,
    /// Before the Secret is written.
    Write,
    /// Before the status is written.
    Status,
    /// Before a finalizer is added or removed.
    Finalizer,
}

/// What is written instead of the truth.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content {
    /// What was written first.
    Old,
    /// Rubbish.
    Wrong,
}

impl Faults {
    /// Reads the document; the error says which key or value is wrong and what is allowed.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, String> {
        let faults: Self = serde_json::from_slice(document).map_err(|error| error.to_string())?;
        match faults.slow {
            Some(slow) if Duration::try_from_secs_f64(slow.seconds).is_err() => Err(format!(
                "`slow.seconds` must be a number from 0, not `{}`",
                slow.seconds
            )),
            _ if faults.rewrite_every == Some(Duration::ZERO) => {
                Err("`rewriteEvery` must be above 0".into())
            }
            _ => Ok(faults),
        }
    }

    /// Whether resources of that name are passed over.
    pub(crate) fn ignores(&self, name: &str) -> bool {
        self.ignore.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// The faults in force, shared by all.
#[derive(Clone, Debug)]
pub(crate) struct Switchboard {
    faults: watch::Sender<Faults>,
    /// What is left of `ignoreNext`.
    to_ignore: Arc<AtomicU32>,
}

impl Default for Switchboard {
    fn default() -> Self {
        Self {
            faults: watch::Sender::new(Faults::default()),
            to_ignore: Arc::default(),
        }
    }
}

impl Switchboard {
    /// What is in force now.
    pub(crate) fn now(&self) -> Faults {
        let ignore_next = self.to_ignore.load(Ordering::Relaxed);
        Faults {
            ignore_next,
            ..self.faults.borrow().clone()
        }
    }

    /// Puts others in force.
    pub(crate) fn set(&self, faults: Faults) {
        self.to_ignore.store(faults.ignore_next, Ordering::Relaxed);
        self.faults.send_replace(faults);
    }

    /// Hears of every document that is put in force.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Faults> {
        self.faults.subscribe()
    }

    /// Takes one from `ignoreNext`; false if none is left.
    pub(crate) fn take_ignored(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        let taken = self
            .to_ignore
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok()
    }

    /// Returns once nothing hangs.
    pub(crate) async fn unhung(&self) {
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = self.subscribe().wait_for(|faults| !faults.hang).await;
    }

    /// Waits if that place is to be slow.
    pub(crate) async fn pass(&self, place: Place) {
        let slow = self.faults.borrow().slow;
        if let Some(slow) = slow.filter(|slow| slow.at == place) {
            tokio::time::sleep(Duration::from_secs_f64(slow.seconds)).await;
        }
    }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn print_duration<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = duration.map(|duration| super::horizon::Go(duration).to_string());
    text.serialize(serializer)
}

fn read_duration<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let duration = go_duration(&text).ok_or_else(|| {
        serde::de::Error::custom(format!(
            "`{text}` is not a duration such as `1s` or `500ms`"
        ))
    })?;
    Ok(Some(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let faults = Faults::parse(
            br#"{"hang":true,"slow":{"at":"login","seconds":2.5},"ignore":["a","b-"],"ignoreNext":2,
                "content":"old","leakLeases":true,"stickFinalizer":true,"rotateLate":"2s","rewriteEvery":"1s","omitNotAfter":true}"#,
        )
        .expect("well formed");
        assert_eq!(
            faults.slow,
            Some(Slow {
                at: Place::Login,
                seconds: 2.5
            })
        );
        assert_eq!(faults.rotate_late, Some(Duration::from_secs(2)));
        assert_eq!(faults.rewrite_every, Some(Duration::from_secs(1)));
        assert!(faults.ignores("a") && faults.ignores("b-17") && !faults.ignores("c"));
        let printed = serde_json::to_vec(&faults).expect("plain data");
        assert_eq!(Faults::parse(&printed), Ok(faults));
        assert_eq!(Faults::parse(b"{}"), Ok(Faults::default()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |document: &str, words: &[&str]| {
            let error = Faults::parse(document.as_bytes()).expect_err(document);
            for word in words {
                assert!(error.contains(word), "{document}: {error}");
            }
        };
        check(r#"{"hangs":true}"#, &["hangs", "`hang`", "rewriteEvery"]);
        check(
            r#"{"slow":{"at":"lunch","seconds":1}}"#,
            &["lunch", "finalizer"],
        );
        check(r#"{"slow":{"at":"login","seconds":-1}}"#, &["slow.seconds"]);
        check(r#"{"rewriteEvery":"soon"}"#, &["soon", "duration"]);
        check(r#"{"rewriteEvery":"0s"}"#, &["above 0"]);
        check("hang", &["expected"]);
    }

    #[test]
    fn the_next_are_counted() {
        let board = Switchboard::default();
        assert!(!board.take_ignored());
        board.set(Faults {
            ignore_next: 2,
            ..Faults::default()
        });
        assert!(board.take_ignored() && board.take_ignored() && !board.take_ignored());
    }
}
