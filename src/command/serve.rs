//! On schedule: runs the probes for as long as it is let, and serves what came of it.

mod crew;
mod files;
mod reload;
mod sender;
mod site;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Error;
use crate::cli::{Exit, ServeArgs};
use crate::config::{Config, check};
use crate::health::Health;
use crate::http::{self, Ask, Served};
use crate::kubernetes;
use crate::leader::{self, Leadership};
use crate::publish::{Fact, Publisher};
use crate::shutdown::Shutdown;
use crew::Crew;
use files::Files;
use reload::Source;
use sender::Sender;

pub(super) async fn run(file: Option<&Path>, args: &ServeArgs) -> Result<Exit, Error> {
    let (name, text) = super::read(file)?;
    let config = usable(&text, &name).map_err(Error::Config)?;
    let mut source = Source::new(file, text)?;
    let shutdown = Shutdown::on_signals()?;
    let publisher = Arc::new(Publisher::default());
    // Before anyone can ask: every series is there from the first scrape.
    publisher.publish(Fact::configured(&config));
    if let Some(history) = &config.history {
        let folder = history.path.display();
        publisher
            .remember(history)
            .with_context(|| format!("tried to keep runs in {folder}, the `history.path`"))?;
    }
    let health = Health::default();

    let listen = config.server.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("tried to listen on {listen}, the `server.listen`"))?;
    let (control, mut asked) = mpsc::channel(16);
    let served = Served {
        publisher: publisher.clone(),
        health: health.clone(),
        control: args.web_enable_lifecycle.then_some(control),
    };
    let closing = Shutdown::default();
    let server = tokio::spawn(http::serve(listener, served, closing.clone()));
    tracing::info!(%listen, probes = config.probes.len(), "serving");

    let leadership = if args.leader_elect {
        Some(contend(&config, &health).await?)
    } else {
        None
    };
    let mut leading = leadership
        .as_ref()
        .map_or_else(|| watch::channel(true).1, Leadership::leading);

    let mut sender = Sender::default();
    sender
        .configure(&config, &publisher)
        .map_err(|error| Error::Usage(error.to_string()))?;
    let mut files = Files::of(&config).await;
    let mut crew = Crew::new(publisher.clone(), health, config);
    publisher.publish(Fact::Reload { successful: true });
    publisher.publish(Fact::Leader(*leading.borrow()));
    crew.lead(*leading.borrow_and_update());
    loop {
        tokio::select! {
            () = shutdown.wait() => break,
            Ok(()) = leading.changed() => {
                let leads = *leading.borrow_and_update();
                publisher.publish(Fact::Leader(leads));
                crew.lead(leads);
            }
            text = source.changed() => {
                // Told in the log and in a metric: nobody else waits for it.
                let _ = apply(text, &name, &mut crew, &mut sender, &publisher);
                crew.heed(files.now(crew.config()).await).await;
            }
            change = files.changed() => crew.heed(change).await,
            Some(ask) = asked.recv() => match ask {
                Ask::Reload(reply) => {
                    let text = source.read();
                    let applied = apply(text, &name, &mut crew, &mut sender, &publisher);
                    crew.heed(files.now(crew.config()).await).await;
                    let _ = reply.send(applied);
                }
                Ask::Run { probe, reply } => crew.run_now(&probe, reply),
            },
        }
    }
    crew.end().await;
    let hand_over = async {
        if let Some(leadership) = leadership {
            leadership.resign().await;
        }
    };
    closing.ask();
    // A client that holds its connection open must not hold up the end.
    let (_, (), ()) = tokio::join!(timeout(CLOSING, server), sender.end(), hand_over);
    Ok(Exit::Good)
}

/// How long requests under way may take at the end.
const CLOSING: Duration = Duration::from_secs(2);

/// Contends for the Lease of this instance.
async fn contend(config: &Config, health: &Health) -> Result<Leadership, Error> {
    let client = kubernetes::connect(&config.kubernetes).await?;
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "vso-prober".to_owned());
    // A container that starts again in its Pod is another one.
    let identity = format!("{host}_{:08x}", rand::rng().random::<u32>());
    let name = format!("vso-prober-{}", config.instance);
    let promise = health.promise("the contention for the Lease", leader::STUCK);
    let namespace = &config.kubernetes.namespace;
    Ok(Leadership::contend(
        &client, namespace, &name, &identity, promise,
    ))
}

/// Puts a configuration in force, or keeps the one that is and says why.
fn apply(
    text: Result<String, String>,
    name: &str,
    crew: &mut Crew,
    sender: &mut Sender,
    publisher: &Arc<Publisher>,
) -> Result<(), String> {
    let config = text.and_then(|text| {
        let config = usable(&text, name)?;
        let sends = sender.configure(&config, publisher);
        sends.map_err(|error| error.to_string())?;
        Ok(config)
    });
    publisher.publish(Fact::Reload {
        successful: config.is_ok(),
    });
    match config {
        Ok(config) => {
            crew.configure(config);
            tracing::info!(
                file = name,
                "the configuration was read again and is in force"
            );
            Ok(())
        }
        Err(problems) => {
            tracing::error!(
                file = name,
                problems,
                "the configuration was read again and can't be used; the one before stays in force"
            );
            Err(problems)
        }
    }
}

/// The configuration, if all of it can be run.
fn usable(text: &str, name: &str) -> Result<Config, String> {
    check::load(text, name, super::env)
        .map_err(|problems| format!("the configuration can't be used\n{problems}"))
}
