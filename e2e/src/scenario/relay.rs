//! A relay to Vault, with which a scenario listens or slows requests down.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// Forwards connections. Dropping it cuts them.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on loopback and forwards to `address`, an `http://` URL. Each request (HTTP/1.1, one after the
    /// other on a connection) is held back for as many seconds as `hold` says for it.
    pub async fn slow(
        address: &str,
        hold: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<Self> {
        let hold = Arc::new(move || Duration::from_secs_f64(hold()));
        Self::start(address, move |near, far| {
            let hold = hold.clone();
            async move {
                // Asks and answers take turns, so what comes first after an answer is the next request.
                let answered = AtomicBool::new(true);
                let ask = |_: &[u8]| {
                    if answered.swap(false, Ordering::Relaxed) {
                        hold()
                    } else {
                        Duration::ZERO
                    }
                };
                let answer = |_: &[u8]| {
                    answered.store(true, Ordering::Relaxed);
                    Duration::ZERO
                };
                pass(near, far, ask, answer).await;
            }
        })
        .await
    }

    /// The same, with everything on its way for so long in either direction, as over a long line.
    pub async fn far(address: &str, one_way: Duration) -> Result<Self> {
        Self::start(address, move |mut near, mut far| async move {
            let (near_reads, near_writes) = near.split();
            let (far_reads, far_writes) = far.split();
            tokio::join!(
                carry(near_reads, far_writes, || one_way),
                carry(far_reads, near_writes, || one_way)
            );
        })
        .await
    }

    /// Listens on loopback and forwards to `address`, which sees `source` as where it comes from.
    pub async fn seen_from(address: &str, source: IpAddr) -> Result<Self> {
        let serve = |mut near: TcpStream, mut far: TcpStream| async move {
            // Whoever cuts the connection has what it came for.
            let _ = copy_bidirectional(&mut near, &mut far).await;
        };
        Self::listen(address, from(source), serve).await
    }

    /// The same, but that it says at the beginning of each connection who is there, by the PROXY protocol.
    pub async fn proxy_protocol(address: &str, source: IpAddr) -> Result<Self> {
        let serve = |mut near: TcpStream, mut far: TcpStream| async move {
            let (Ok(from), Ok(to)) = (near.peer_addr(), near.local_addr()) else {
                return;
            };
            let header = format!(
                "PROXY TCP4 {} {} {} {}\r\n",
                from.ip(),
                to.ip(),
                from.port(),
                to.port()
            );
            if far.write_all(header.as_bytes()).await.is_ok() {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        };
        Self::listen(address, from(source), serve).await
    }

    /// Listens on loopback and hands each connection, with one to `address`, to `serve`.
    pub(super) async fn start<F>(
        address: &str,
        serve: impl Fn(TcpStream, TcpStream) -> F + Send + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::listen(address, TcpStream::connect::<SocketAddr>, serve).await
    }

    async fn listen<C, F>(
        address: &str,
        connect: impl Fn(SocketAddr) -> C + Send + 'static,
        serve: impl Fn(TcpStream, TcpStream) -> F + Send + 'static,
    ) -> Result<Self>
    where
        C: Future<Output = std::io::Result<TcpStream>> + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let to: SocketAddr = address
            .split_once("://")
            .and_then(|(_, rest)| rest.trim_end_matches('/').parse().ok())
            .with_context(|| format!("`{address}` is no address to forward to"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                if let Ok(far) = connect(to).await {
                    connections.spawn(serve(near, far));
                }
            }
        });
        Ok(Self { address, task })
    }

    /// Its URL.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Connects from an address of this machine.
fn from(
    source: IpAddr,
) -> impl Fn(SocketAddr) -> BoxFuture<'static, std::io::Result<TcpStream>> + Send + 'static {
    move |to| {
        Box::pin(async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(source, 0))?;
            socket.connect(to).await
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards both ways until both have ended. What passes is shown to `up` or `down`, which say how long it is
/// held back.
pub(super) async fn pass(
    mut near: TcpStream,
    mut far: TcpStream,
    up: impl Fn(&[u8]) -> Duration,
    down: impl Fn(&[u8]) -> Duration,
) {
    let (near_reads, near_writes) = near.split();
    let (far_reads, far_writes) = far.split();
    tokio::join!(
        copy(near_reads, far_writes, up),
        copy(far_reads, near_writes, down)
    );
}

/// Carries what comes, each piece for as long as is said when it comes.
pub(super) async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    time: impl Fn() -> Duration,
) {
    let (sender, mut under_way) = mpsc::unbounded_channel();
    let read = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let piece = (Instant::now() + time(), buffer[..length].to_vec());
            if sender.send(piece).is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((arrives, piece)) = under_way.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    show: impl Fn(&[u8]) -> Duration,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let held = show(&buffer[..length]);
        if !held.is_zero() {
            sleep(held).await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
