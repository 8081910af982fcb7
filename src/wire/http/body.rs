//! The body of an answer, read piece by piece and never beyond a limit: an answer may never end.

use reqwest::Response;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::wire::causes;

/// How much of an answer that refuses is read, in bytes.
const BEGINNING: usize = 4 * 1024;

/// Why there is no body.
#[derive(Debug, Error)]
pub enum Error {
    /// It is longer than this, in bytes.
    #[error("its response is larger than {}", size(*.0))]
    TooLong(usize),
    /// It ended before its end, or was too slow.
    #[error("the response was cut off: {0}")]
    BrokeOff(String),
}

/// The whole body, of at most `limit` bytes. It is wiped when it is dropped, for it may hold a secret.
///
/// # Errors
/// It is longer, or breaks off.
pub async fn body(mut answer: Response, limit: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let announced = answer.content_length().unwrap_or_default();
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Error::TooLong(limit));
    }
    let mut body = Zeroizing::new(Vec::with_capacity(announced));
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if chunk.len() > limit - body.len() => {
                return Err(Error::TooLong(limit));
            }
            Ok(Some(chunk)) => append(&mut body, &chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(Error::BrokeOff(causes(&error.without_url()))),
        }
    }
}

/// The first words of a body, which may say why a request is refused; no more of it is read.
pub async fn beginning(mut answer: Response) -> String {
    let mut beginning = Vec::new();
    while beginning.len() < BEGINNING
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        let room = BEGINNING - beginning.len();
        beginning.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    String::from_utf8_lossy(&beginning).into_owned()
}

/// Makes room without leaving a copy behind.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    let length = body.len() + chunk.len();
    if length > body.capacity() {
        let mut roomier = Zeroizing::new(Vec::with_capacity(length.max(body.capacity() * 2)));
        roomier.extend_from_slice(body);
        *body = roomier;
    }
    body.extend_from_slice(chunk);
}

fn size(bytes: usize) -> String {
    match bytes {
        0x10_0000.. => format!("{} MB", bytes >> 20),
        _ => format!("{} KB", bytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn answer(body: Vec<u8>) -> Response {
        http::Response::new(body).into()
    }

    /// An answer that never ends.
    async fn endless() -> Response {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            while stream.write_all(&[b'x'; 1000]).await.is_ok() {}
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().tls_certs_only([]).build();
        client.unwrap().get(url).send().await.unwrap()
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_and_not_beyond_the_limit() {
        let whole = body(answer(vec![b'x'; LIMIT]), LIMIT).await.unwrap();
        assert_eq!(whole.len(), LIMIT);
        for answer in [answer(vec![b'x'; LIMIT + 1]), endless().await] {
            let error = body(answer, LIMIT).await.unwrap_err().to_string();
            assert_eq!(error, "its response is larger than 1 MB");
        }
        assert_eq!(
            Error::TooLong(BEGINNING).to_string(),
            "its response is larger than 4 KB"
        );
    }

    #[tokio::test]
    async fn of_a_refusal_the_beginning_is_read() {
        assert_eq!(beginning(endless().await).await.len(), BEGINNING);
        assert_eq!(beginning(answer(b"no".to_vec())).await, "no");
        assert_eq!(beginning(answer(vec![0xff])).await, "\u{fffd}");
    }
}
