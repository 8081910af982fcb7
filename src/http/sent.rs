//! The budget of bytes in answers under way, as clients may be slow to read them.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error;

/// How many KiB may be under way at a time.
const BUDGET: u32 = 16 * 1024;

/// What of the budget is not under way.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET as usize)))
    }
}

/// A text, and its share of the budget until it is sent.
struct Held {
    text: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Budget {
    /// An answer in JSON. Written as it stands: a map of `serde_json` would sort the keys of a run.
    pub(super) fn json(&self, value: &impl Serialize) -> Response {
        match serde_json::to_vec(value) {
            Ok(text) => self.send("application/json", text),
            Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string()),
        }
    }

    /// An answer of this media type.
    pub(super) fn send(&self, media: &'static str, text: Vec<u8>) -> Response {
        let size = u32::try_from(text.len() / 1024 + 1).unwrap_or(BUDGET);
        let Ok(share) = self.0.clone().try_acquire_many_owned(size.min(BUDGET)) else {
            let why = "too many slow clients; try again in half a minute";
            return error(StatusCode::SERVICE_UNAVAILABLE, why);
        };
        let held = Held {
            text,
            _share: share,
        };
        let body = Body::from(Bytes::from_owner(held));
        ([(header::CONTENT_TYPE, media)], body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_counts_until_it_is_dropped() {
        let budget = Budget::default();
        let answer = |megabytes: usize| budget.send("text/plain", vec![0; megabytes << 20]);
        let first = answer(10);
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(answer(10).status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer(1).status(), StatusCode::OK);
        drop(first);
        assert_eq!(answer(10).status(), StatusCode::OK);
        assert_eq!(answer(40).status(), StatusCode::OK, "alone, any may go");
    }
}
