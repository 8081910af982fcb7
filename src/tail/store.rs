//! A value that is kept in a file, so that it survives a restart.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::wire::file;

/// A value, and its file.
pub(super) struct Store<T> {
    folder: PathBuf,
    name: String,
    schema: &'static str,
    value: Mutex<T>,
}

/// What the file holds. The schema is the version of its form.
#[derive(Deserialize, Serialize)]
struct Saved<S, T> {
    schema: S,
    #[serde(flatten)]
    value: T,
}

impl<T: Clone + DeserializeOwned + Serialize> Store<T> {
    /// What was saved in the file `name` of the folder, or else `first`. The folder is created if it is not there.
    ///
    /// # Errors
    /// The folder or the file can't be read, or the file is of another form.
    pub(super) fn open(
        folder: &Path,
        name: String,
        schema: &'static str,
        first: impl FnOnce() -> T,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let value = match fs::read(folder.join(&name)) {
            Ok(text) => {
                let saved: Saved<String, T> = serde_json::from_slice(&text)?;
                if saved.schema != schema {
                    let why = format!("{name} has the schema {:?}, not {schema:?}", saved.schema);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                saved.value
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => first(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            folder: folder.to_owned(),
            name,
            schema,
            value: Mutex::new(value),
        })
    }

    /// What `look` sees in it.
    pub(super) fn get<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.locked())
    }

    /// Changes it so that it survives a loss of power. What can't be saved counts as not changed.
    pub(super) fn change(&self, change: impl FnOnce(&mut T)) -> io::Result<()> {
        let mut value = self.locked();
        let mut next = value.clone();
        change(&mut next);
        let saved = Saved {
            schema: self.schema,
            value: &next,
        };
        file::replace(&self.folder, &self.name, &serde_json::to_vec(&saved)?)?;
        *value = next;
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
