//! A connection that is patient with its peer, but not for ever: an answer that is not taken in time breaks it.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::model::time::Moment as _;

/// How long a peer may take to take all of an answer, from when it first has to be waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// A stream whose writes must come to their end in time.
pub(super) struct Patient<S> {
    stream: S,
    /// Until when what is being written must be taken.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self {
            stream,
            until: None,
        }
    }

    /// What becomes of a write: one that has to wait breaks once the time is up.
    fn waited(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() && self.until.is_none() {
            return written;
        }
        let until = self
            .until
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now().later(LIMIT))));
        if until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.waited(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.waited(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called once all that there was is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.until = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_breaks_the_connection() {
        let (near, mut far) = duplex(16);
        let mut near = Patient::new(near);
        let started = Instant::now();
        // A byte now and then is no progress that counts.
        let drip = async {
            loop {
                sleep_until(Instant::now() + Duration::from_secs(3)).await;
                let _ = far.read_u8().await;
            }
        };
        let written = tokio::select! {
            written = near.write_all(&[0; 1000]) => written,
            () = drip => unreachable!("it has no end"),
        };
        let error = written.expect_err("it takes too long");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(
            started.elapsed() <= LIMIT + Duration::from_secs(4),
            "{:?}",
            started.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_time() {
        let (near, mut far) = duplex(16);
        let mut near = Patient::new(near);
        for _ in 0..5 {
            let late = async {
                sleep_until(Instant::now() + LIMIT / 2).await;
                far.read_exact(&mut [0; 64]).await
            };
            let (written, read) = tokio::join!(
                async {
                    near.write_all(&[0; 64]).await?;
                    near.flush().await
                },
                late
            );
            written.expect("it is taken in time");
            read.expect("it came");
        }
    }
}
