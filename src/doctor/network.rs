//! The check of an address: its name, and the connection to it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::Url;

/// How long a name or a connection may take.
const LIMIT: Duration = Duration::from_secs(5);

/// An address as a URL names it.
pub(super) struct Place {
    /// The host.
    pub(super) host: String,
    port: u16,
}

impl Place {
    /// Where `url` leads.
    pub(super) fn of(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some(Self {
            host,
            port: url.port_or_known_default()?,
        })
    }

    /// `host:port`.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The addresses that the name stands for.
    pub(super) async fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let tried = |what: &str| format!("tried to resolve `{}`: {what}", self.host);
        match timeout(LIMIT, lookup_host((self.host.as_str(), self.port))).await {
            Ok(Ok(addresses)) => {
                let addresses: Vec<_> = addresses.collect();
                if addresses.is_empty() {
                    return Err(tried("the name has no address"));
                }
                Ok(addresses)
            }
            Ok(Err(error)) => Err(tried(&error.to_string())),
            Err(_) => Err(tried("the resolver did not answer in time")),
        }
    }

    /// Connects to the first that lets itself be connected to.
    pub(super) async fn connect(&self, addresses: &[SocketAddr]) -> Result<SocketAddr, String> {
        let mut last = "there is no address".to_owned();
        for address in addresses {
            match timeout(LIMIT, TcpStream::connect(address)).await {
                Ok(Ok(_)) => return Ok(*address),
                Ok(Err(error)) => last = format!("{address}: {error}"),
                Err(_) => last = format!("{address}: no answer within {} s", LIMIT.as_secs()),
            }
        }
        Err(format!("tried to connect to {}: {last}", self.name()))
    }
}
