//! A connection that does not give the password away: a server that asks for it in clear gets none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `AuthenticationOk`, and what a server asks for the password in clear by (`AuthenticationCleartextPassword`).
const LET_IN: [u8; 4] = [0, 0, 0, 0];
const IN_CLEAR: [u8; 4] = [0, 0, 0, 3];
/// What is heeded of a message: its type, its length, and of an `R` what it asks for.
const HEAD: usize = 5;
const ASKED: usize = 9;

/// A stream on which the server's messages are looked at until it has let the client in.
pub(super) struct Wary<S> {
    stream: S,
    /// None once there is nothing to look for any more.
    look: Option<Look>,
}

/// The place in the server's messages.
#[derive(Default)]
struct Look {
    /// What is known of the message under way.
    head: Vec<u8>,
    /// How much of it is still to be passed over.
    rest: usize,
}

impl<S> Wary<S> {
    pub(super) fn new(stream: S) -> Self {
        let look = Some(Look::default());
        Self { stream, look }
    }

    /// One whose peer is known to be the right one, so that the password may be given away.
    pub(super) const fn trusting(stream: S) -> Self {
        Self { stream, look: None }
    }
}

impl Look {
    /// Looks at what comes next. Returns whether the client was let in.
    ///
    /// # Errors
    /// The server asks for the password in clear.
    fn take(&mut self, bytes: &[u8]) -> io::Result<bool> {
        for byte in bytes {
            if self.rest > 0 {
                self.rest -= 1;
                continue;
            }
            self.head.push(*byte);
            let asks = self.head.first() == Some(&b'R');
            if self.head.len() < if asks { ASKED } else { HEAD } {
                continue;
            }
            match self.head.get(HEAD..ASKED) {
                Some(code) if code == IN_CLEAR => return Err(io::Error::other(REFUSED)),
                Some(code) if code == LET_IN => return Ok(true),
                _ => {}
            }
            let length = self.head.iter().skip(1).take(4);
            let length = length.fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
            // The length counts itself, and not the type.
            self.rest = length.saturating_add(1).saturating_sub(self.head.len());
            self.head.clear();
        }
        Ok(false)
    }
}

/// What is said of a server that asks for it.
const REFUSED: &str = "it asks for the password in clear text, which is sent only with `sslMode: verify-full`; set \
     `scram-sha-256` in its pg_hba.conf, or use `verify-full`";

impl<S: AsyncRead + Unpin> AsyncRead for Wary<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let come = buffer.filled().get(before..).unwrap_or_default();
        if let Some(look) = &mut self.look
            && look.take(come)?
        {
            self.look = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wary<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message as a server sends it.
    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short");
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    /// What comes of these messages, however they are cut into pieces.
    fn looked(messages: &[Vec<u8>], piece: usize) -> io::Result<bool> {
        let mut look = Look::default();
        for piece in messages.concat().chunks(piece) {
            if look.take(piece)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[test]
    fn a_password_in_clear_is_refused_however_the_question_comes() {
        let notice = message(b'N', b"SNOTICE\0\0");
        let scram = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        let md5 = message(b'R', b"\0\0\0\x05salt");
        let clear = message(b'R', &IN_CLEAR);
        let ok = message(b'R', &LET_IN);
        for piece in 1..40 {
            assert!(
                looked(&[notice.clone(), clear.clone()], piece).is_err(),
                "{piece}"
            );
            assert!(
                looked(&[scram.clone(), clear.clone()], piece).is_err(),
                "{piece}"
            );
            let good = [
                notice.clone(),
                scram.clone(),
                md5.clone(),
                ok.clone(),
                clear.clone(),
            ];
            assert!(looked(&good, piece).is_ok_and(|let_in| let_in), "{piece}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_is_looked_at_without_a_panic(bytes: Vec<u8>) {
            let _ = Look::default().take(&bytes);
        }
    }
}
