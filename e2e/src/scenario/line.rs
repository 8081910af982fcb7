//! A line between the prober and the API server, or Vault, that can be cut, mended, and made long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::relay::carry;

/// Forwards connections for as long as it is whole. Dropping it cuts it for good.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    scheme: String,
    whole: watch::Sender<bool>,
    /// How many milliseconds each way takes.
    length: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Line {
    /// Listens on loopback and forwards to `url`, which is a scheme and an address.
    pub async fn start(url: &str) -> Result<Self> {
        let parts = url.split_once("://").and_then(|(scheme, rest)| {
            let to: SocketAddr = rest.trim_end_matches('/').parse().ok()?;
            Some((scheme.to_owned(), to))
        });
        let (scheme, to) = parts.with_context(|| format!("`{url}` is no address to forward to"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (whole, state) = watch::channel(true);
        let length = Arc::new(AtomicU64::new(0));
        let of_each = length.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut state, length) = (state.clone(), of_each.clone());
                if !*state.borrow_and_update() {
                    continue;
                }
                connections.spawn(async move {
                    let Ok(mut far) = TcpStream::connect(to).await else {
                        return;
                    };
                    let time = || Duration::from_millis(length.load(Ordering::Relaxed));
                    let (near_reads, near_writes) = near.split();
                    let (far_reads, far_writes) = far.split();
                    tokio::select! {
                        _ = async { tokio::join!(
                            carry(near_reads, far_writes, time),
                            carry(far_reads, near_writes, time)
                        ) } => {}
                        _ = state.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Ok(Self {
            address,
            scheme,
            whole,
            length,
            task,
        })
    }

    /// Its URL.
    pub fn address(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Ends every connection, and lets none through from now on.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// From now on each way takes so long, on connections that are there too.
    pub fn stretch(&self, one_way: Duration) {
        let millis = u64::try_from(one_way.as_millis()).unwrap_or(u64::MAX);
        self.length.store(millis, Ordering::Relaxed);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}
