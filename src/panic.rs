//! A panic as a value: where it was, and nothing of what it said, as that may quote what must not be shown.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, set_hook};

use futures::FutureExt as _;

thread_local! {
    /// Where the last panic of this thread was.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A bug of the prober's own.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the prober itself panicked at {place}: a bug; please report it")]
pub struct Panic {
    place: String,
}

/// Has every panic logged from now on, by its place alone.
pub fn log_places() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(unknown, place);
        tracing::error!(place, "the prober itself panicked: a bug; please report it");
        PLACE.set(Some(place));
    }));
}

/// Runs `work` to its end, or to its panic.
///
/// # Errors
/// It panicked.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panic> {
    let ended = AssertUnwindSafe(work).catch_unwind().await;
    ended.map_err(|_| Panic::last())
}

/// Runs `work`, which does not wait, to its end, or to its panic.
///
/// # Errors
/// It panicked.
pub fn caught_at_once<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panic::last())
}

impl Panic {
    /// The one that this thread has just caught.
    fn last() -> Self {
        let place = PLACE.take().unwrap_or_else(unknown);
        Self { place }
    }
}

fn unknown() -> String {
    "an unknown place".to_owned()
}

/// A line of the source, without the folder that it was built in.
fn place(location: &Location<'_>) -> String {
    let file = location.file();
    let below = file
        .split_once("/registry/src/")
        .and_then(|(_, rest)| rest.split_once('/'));
    let file = below.map_or(file, |(_, file)| file);
    format!("{file}:{}", location.line())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_value_that_does_not_say_what_it_said() {
        let broken = async { [1][std::hint::black_box(1)] };
        let panic = caught(broken).await.expect_err("it panicked");
        assert!(
            panic
                .to_string()
                .starts_with("the prober itself panicked at ")
        );
        let panic = caught_at_once(|| panic!("s3cret"))
            .map(|()| 1)
            .expect_err("it panicked");
        assert!(!panic.to_string().contains("s3cret"), "{panic}");
        assert_eq!(caught(async { 7 }).await, Ok(7));
    }

    #[test]
    fn a_place_names_no_folder_of_the_builder() {
        let here = place(Location::caller());
        assert!(here.starts_with("src/panic.rs:"), "{here}");
    }
}
