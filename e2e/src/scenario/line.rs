//! A line between the prober and the API server, or Vault, that can be cut and mended.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Forwards connections for as long as it is whole. Dropping it cuts it for good.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    scheme: String,
    whole: watch::Sender<bool>,
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
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                if !*state.borrow_and_update() {
                    continue;
                }
                connections.spawn(async move {
                    let Ok(mut far) = TcpStream::connect(to).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Ok(Self {
            address,
            scheme,
            whole,
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
