//! Doors between the node's network, which leads nowhere, and the machine's loopback.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A network, by what the kernel shows of it under `/proc`.
#[derive(Clone, Debug)]
pub(super) struct Network(Arc<File>);

impl Network {
    /// That of a process.
    pub(super) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/net");
        let file = File::open(&path).with_context(|| format!("could not open `{path}`"))?;
        Ok(Self(Arc::new(file)))
    }

    /// Makes a socket in it, by a thread that moves there and ends. A socket stays in the network that it was made in,
    /// whoever uses it.
    fn socket<T: Send>(&self, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let there = || {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
            make()
        };
        thread::scope(|scope| scope.spawn(there).join()).expect("it does not panic")
    }

    async fn connect(self, to: SocketAddr) -> io::Result<TcpStream> {
        self.socket(TcpSocket::new_v4)?.connect(to).await
    }
}

/// Forwards connections from one network to the other. Dropping it cuts them.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Door {
    /// Listens in a network, and leads to an address of the machine's.
    pub(super) fn out(network: &Network, from: SocketAddr, to: SocketAddr) -> Result<Self> {
        let listen = || {
            let listener = std::net::TcpListener::bind(from)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = network
            .socket(listen)
            .with_context(|| format!("could not listen on {from} in the node's network"))?;
        Self::start(TcpListener::from_std(listener)?, move || {
            TcpStream::connect(to)
        })
    }

    /// Listens on a port of loopback, 0 for any, and leads to an address in a network.
    pub(super) async fn into(network: &Network, port: u16, to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let network = network.clone();
        Self::start(listener, move || network.clone().connect(to))
    }

    fn start<F>(listener: TcpListener, connect: impl Fn() -> F + Send + 'static) -> Result<Self>
    where
        F: Future<Output = io::Result<TcpStream>> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let far = connect();
                connections
                    .spawn(async move { copy_bidirectional(&mut near, &mut far.await?).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}
