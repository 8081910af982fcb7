//! The files that the configuration names: a change of their content counts as a change of the configuration.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::config::{Access, Auth, Config, HeaderSource, MetricsSource, TokenSource};
use crate::{kubernetes, wire};

/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a file is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Use {
    /// Clients are made from it, once.
    Client,
    /// It is read at a login to Vault.
    Login,
}

/// What is to be done about files that hold something else.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Change {
    /// Clients are to be made anew.
    pub clients: bool,
    /// The prober is to log in to Vault anew.
    pub login: bool,
}

type Contents = HashMap<PathBuf, [u8; 32]>;
/// What each file was found to hold.
type Read = Vec<(PathBuf, io::Result<[u8; 32]>)>;

/// The files, and what they held when that was last heeded. Files that are read each time they are needed are not
/// among them.
pub struct Files {
    named: Vec<(PathBuf, Use)>,
    taken: Contents,
    /// What they hold now, if that is something else: heeded once it has come to rest.
    pending: Option<Contents>,
    /// Those that could not be read, which is told once.
    unreadable: Vec<PathBuf>,
    looks: Interval,
    /// A look that has begun, for as long as it takes.
    under_way: Option<JoinHandle<Read>>,
}

impl Files {
    /// The files of a configuration.
    pub async fn of(config: &Config) -> Self {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut files = Self {
            named: named(config).await,
            taken: Contents::new(),
            pending: None,
            unreadable: Vec::new(),
            looks,
            under_way: None,
        };
        files.taken = files.look_now().await;
        files
    }

    /// Waits until a file holds something else. Can be dropped and called again without missing anything.
    pub async fn changed(&mut self) -> Change {
        loop {
            let now = self.look().await;
            if now == self.taken {
                self.pending = None;
            } else if self.pending.as_ref() == Some(&now) {
                return self.take(now);
            } else {
                self.pending = Some(now);
            }
        }
    }

    /// What has changed by now, of the files of this configuration.
    pub async fn now(&mut self, config: &Config) -> Change {
        self.named = named(config).await;
        let now = self.look_now().await;
        self.take(now)
    }

    fn take(&mut self, now: Contents) -> Change {
        let mut change = Change::default();
        for (file, usage) in &self.named {
            // A file that is new here was read just now by whoever needs it.
            let other = self
                .taken
                .get(file)
                .is_some_and(|before| now.get(file) != Some(before));
            match usage {
                Use::Client => change.clients |= other,
                Use::Login => change.login |= other,
            }
        }
        self.pending = None;
        self.taken = now;
        change
    }

    /// What they hold when it is time to look. A look that has begun goes on if this is dropped meanwhile.
    async fn look(&mut self) -> Contents {
        if self.under_way.is_none() {
            self.looks.tick().await;
        }
        let look = self.under_way.get_or_insert_with(|| read(&self.named));
        let read = look.await;
        self.under_way = None;
        match read {
            Ok(read) => self.contents(read),
            Err(_) => self.taken.clone(),
        }
    }

    /// What they hold now, whatever look is under way.
    async fn look_now(&mut self) -> Contents {
        self.under_way = Some(read(&self.named));
        self.look().await
    }

    /// What they hold; of one that can't be read, what it held before.
    fn contents(&mut self, read: Read) -> Contents {
        let mut contents = Contents::new();
        for (file, content) in read {
            match content {
                Ok(digest) => {
                    self.unreadable.retain(|known| *known != file);
                    contents.insert(file, digest);
                }
                Err(error) => {
                    if let Some(before) = self.taken.get(&file).copied() {
                        self.tell(&file, &error);
                        contents.insert(file, before);
                    }
                }
            }
        }
        contents
    }

    fn tell(&mut self, file: &Path, error: &io::Error) {
        if self.unreadable.iter().any(|known| known == file) {
            return;
        }
        let (name, error) = (file.display(), error.to_string());
        tracing::warn!(file = %name, error, "a file can't be read; keeping its previous content");
        self.unreadable.push(file.to_owned());
    }
}

/// Reads the files, off the runtime's workers.
fn read(named: &[(PathBuf, Use)]) -> JoinHandle<Read> {
    let files: Vec<_> = named.iter().map(|(file, _)| file.clone()).collect();
    spawn_blocking(move || {
        let read = files.into_iter().map(|file| {
            let content = wire::file::read(&file);
            let digest = content.map(|content| Sha256::digest(&*content).into());
            (file, digest)
        });
        read.collect()
    })
}

async fn named(config: &Config) -> Vec<(PathBuf, Use)> {
    let kube = config.kubernetes.clone();
    let kube = spawn_blocking(move || kubernetes::files(&kube)).await;
    let access: Option<&Access> = match &config.operator.metrics {
        Some(
            MetricsSource::Url { access, .. }
            | MetricsSource::Pods { access, .. }
            | MetricsSource::Prometheus { access, .. },
        ) => Some(access),
        None => None,
    };
    let authorities = [
        config.vault.ca_file.as_ref(),
        access.and_then(|access| access.ca_file.as_ref()),
    ];
    let headers = config.vault.headers.iter();
    let headers = headers.filter_map(|header| match &header.value {
        HeaderSource::File(file) => Some(file),
        HeaderSource::Value(_) | HeaderSource::Env(_) => None,
    });
    let clients = authorities.into_iter().flatten().chain(headers).cloned();
    let clients = clients.chain(kube.unwrap_or_default());
    let logins = match &config.vault.auth {
        Auth::Token(TokenSource::File(file)) => vec![file],
        Auth::Token(TokenSource::Env(_)) => Vec::new(),
        Auth::Kubernetes { token_file, .. } | Auth::Jwt { token_file, .. } => vec![token_file],
        Auth::AppRole {
            role_id_file,
            secret_id_file,
            ..
        } => vec![role_id_file, secret_id_file],
    };
    let logins = logins.into_iter().cloned().map(|file| (file, Use::Login));
    clients
        .map(|file| (file, Use::Client))
        .chain(logins)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures::FutureExt as _;
    use tokio::time::{Instant, sleep_until};

    use super::*;
    use crate::model::time::Moment as _;

    async fn files(folder: &Path) -> (Files, PathBuf, PathBuf) {
        let (ca, token) = (folder.join("ca"), folder.join("token"));
        fs::write(&ca, "one").unwrap();
        fs::write(&token, "one").unwrap();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut files = Files {
            named: vec![(ca.clone(), Use::Client), (token.clone(), Use::Login)],
            taken: Contents::new(),
            pending: None,
            unreadable: Vec::new(),
            looks,
            under_way: None,
        };
        files.taken = files.look().await;
        (files, ca, token)
    }

    async fn soon(files: &mut Files) -> Option<Change> {
        let patience = Duration::from_secs(5);
        tokio::time::timeout(patience, files.changed()).await.ok()
    }

    #[tokio::test]
    async fn who_is_dropped_in_mid_look_misses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (mut files, ca, _) = files(folder.path()).await;
        fs::write(&ca, "two").unwrap();
        // As often as another branch of the loop is taken.
        let mut changed = None;
        for _ in 0..500 {
            changed = files.changed().now_or_never();
            if changed.is_some() {
                break;
            }
            sleep_until(Instant::now().later(Duration::from_millis(10))).await;
        }
        assert!(changed.is_some_and(|change| change.clients), "{changed:?}");
    }

    #[tokio::test]
    async fn what_a_file_holds_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (mut files, ca, token) = files(folder.path()).await;
        fs::write(&ca, "two").unwrap();
        let clients = Change {
            clients: true,
            login: false,
        };
        assert_eq!(soon(&mut files).await, Some(clients));
        let new = folder.path().join("new");
        fs::write(&new, "two").unwrap();
        fs::rename(&new, &token).unwrap();
        let login = Change {
            clients: false,
            login: true,
        };
        assert_eq!(soon(&mut files).await, Some(login));
        fs::remove_file(&ca).unwrap();
        assert_eq!(
            files.look().await,
            files.taken,
            "what it held stays in force"
        );
        fs::write(&ca, "two").unwrap();
        assert_eq!(files.look().await, files.taken);
        assert!(files.unreadable.is_empty());
    }
}
