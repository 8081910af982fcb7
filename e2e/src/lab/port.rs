//! Ports on loopback: found free, and tried again when another process is quicker.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// Below the range that the kernel takes the ports of outgoing connections from (32768 and up), so that
/// only another lab could take one between its choice and its use.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port that nobody listens on at this moment.
pub fn free() -> Result<u16> {
    for _ in 0..100 {
        let port = rand::random_range(RANGE);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!(
        "found no free port on 127.0.0.1 in 100 tries between {} and {}",
        RANGE.start,
        RANGE.end
    )
}

/// Starts something on ports of its own choice, and once more when one of them was taken meanwhile.
pub(crate) async fn retry<T>(start: impl AsyncFn() -> Result<T>) -> Result<T> {
    for _ in 0..4 {
        match start().await {
            Err(error) if taken(&format!("{error:#}")) => {}
            outcome => return outcome,
        }
    }
    start().await
}

fn taken(error: &str) -> bool {
    error.to_lowercase().contains("address already in use")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::anyhow;

    use super::*;

    #[tokio::test]
    async fn only_a_lost_port_is_tried_again() {
        let check = async |message: &'static str, expected: u32| {
            let tries = Cell::new(0);
            let outcome: Result<()> = retry(async || {
                tries.set(tries.get() + 1);
                Err(anyhow!(message).context("etcd ended"))
            })
            .await;
            assert!(outcome.is_err());
            assert_eq!(tries.get(), expected, "{message}");
        };
        check("listen tcp 127.0.0.1:2379: bind: address already in use", 5).await;
        check("could not bind IPv4 address: Address already in use", 5).await;
        check("permission denied", 1).await;
    }
}
