//! The limit on the API server's answers, and on each line of a watch and of a log.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, TryFutureExt as _};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{Either, LengthLimitError, Limited};
use tower::Service;

/// How long an answer may be, in bytes. The API server stores no object that is longer than 1.5 MiB.
pub(super) const LONGEST: usize = 2 << 20;

/// A service whose answers are bounded.
#[derive(Clone, Debug)]
pub(super) struct Bounded<S>(pub(super) S);

impl<S, B, R> Service<Request<R>> for Bounded<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<Either<Lines<B>, Limited<B>>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        let goes_on = |part| part == "watch=true" || part == "follow=true";
        let watches = query.split('&').any(goes_on);
        let answered = self.0.call(request).map_ok(move |answer| {
            let endless = watches && answer.status().is_success();
            answer.map(|body| {
                if endless {
                    Either::Left(Lines::new(body))
                } else {
                    Either::Right(Limited::new(body, LONGEST))
                }
            })
        });
        answered.boxed()
    }
}

/// Whether an answer was not read to its end, as it was too long.
pub(super) fn too_long(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A body whose lines are cut where they are too long: what reads it finds half an event, and passes it over.
#[derive(Debug)]
pub(super) struct Lines<B> {
    body: B,
    /// How long the line is by now.
    length: usize,
}

impl<B> Lines<B> {
    const fn new(body: B) -> Self {
        Self { body, length: 0 }
    }

    /// What is kept of some more of the body.
    fn keep(&mut self, data: Bytes) -> Bytes {
        let fits = |length: usize, line: &[u8]| length.saturating_add(line.len()) <= LONGEST;
        let mut length = self.length;
        let whole = data.split_inclusive(|byte| *byte == b'\n').all(|line| {
            let fits = fits(length, line);
            length = next(length, line);
            fits
        });
        if whole {
            self.length = length;
            return data;
        }
        let mut kept = Vec::new();
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            if fits(self.length, line) {
                kept.extend_from_slice(line);
            } else if line.ends_with(b"\n") {
                kept.push(b'\n');
            }
            self.length = next(self.length, line);
        }
        kept.into()
    }
}

/// How long the line is after this piece of it.
fn next(length: usize, piece: &[u8]) -> usize {
    if piece.ends_with(b"\n") {
        0
    } else {
        length.saturating_add(piece.len())
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Lines<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|data| self.keep(data)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes through of these pieces.
    fn through(pieces: &[&[u8]]) -> Vec<u8> {
        let mut lines = Lines::new(());
        let kept = pieces
            .iter()
            .map(|piece| lines.keep(Bytes::copy_from_slice(piece)));
        kept.collect::<Vec<_>>().concat()
    }

    #[test]
    fn lines_that_fit_come_through() {
        let long = vec![b'x'; LONGEST - 1];
        assert_eq!(through(&[b"a\nb", b"c\n", &long, b"\n"]).len(), 5 + LONGEST);
        assert_eq!(through(&[b"", b"\n\n"]), b"\n\n");
    }

    #[test]
    fn a_line_is_cut_where_it_is_too_long() {
        let piece = vec![b'x'; LONGEST / 4 * 3];
        let kept = through(&[b"a\n", &piece, &piece, &piece, b"y\nb\n", b"c"]);
        let lines: Vec<_> = kept.split(|byte| *byte == b'\n').collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            (lines[0], lines[2], lines[3]),
            (&b"a"[..], &b"b"[..], &b"c"[..])
        );
        assert!(lines[1].len() <= LONGEST);
    }
}
