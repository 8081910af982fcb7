//! A saved record: the text of a file that holds one, with the version of its form.

use serde::{Deserialize, Serialize};

use super::record::Record;
use super::text::Text;

/// What the form is called, before its version.
const FORM: &str = "vso-prober/record/v";
/// The version that is written. It goes up with a change that an earlier version would misread; a field that is
/// added has a default, so that every earlier version is still read.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    schema: String,
    prober_version: &'static str,
    record: &'a Record,
}

#[derive(Deserialize)]
struct Head {
    schema: String,
    #[serde(default)]
    prober_version: String,
}

#[derive(Deserialize)]
struct Body {
    record: Record,
}

/// Why a text holds no record that can be judged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unreadable {
    /// It is cut short, changed, or was never a record.
    #[error("is not a record, or is damaged: {0}")]
    Damaged(Text),
    /// It is a record that a later program wrote.
    #[error(
        "is a record in version {version}, written by vso-prober {prober}; this program reads up to version {VERSION}: take a newer vso-prober"
    )]
    TooNew {
        /// The version of its form.
        version: u32,
        /// The version of the program that wrote it.
        prober: Text,
    },
}

impl Unreadable {
    fn damaged(why: &impl ToString) -> Self {
        Self::Damaged(why.to_string().into())
    }
}

/// The text of a file that holds this record.
///
/// # Errors
/// Memory is the only thing written to, so there is none in practice.
pub fn write(record: &Record) -> serde_json::Result<String> {
    let mut text = serde_json::to_string(&Written {
        schema: format!("{FORM}{VERSION}"),
        prober_version: env!("CARGO_PKG_VERSION"),
        record,
    })?;
    text.push('\n');
    Ok(text)
}

/// The record in the text of a file, of this version or an earlier one.
///
/// # Errors
/// There is none, or a later program wrote it.
pub fn read(text: &[u8]) -> Result<Record, Unreadable> {
    let head: Head = serde_json::from_slice(text).map_err(|error| Unreadable::damaged(&error))?;
    let version = head
        .schema
        .strip_prefix(FORM)
        .and_then(|version| version.parse().ok());
    match version {
        Some(1..=VERSION) => {}
        Some(version @ 1..) => {
            return Err(Unreadable::TooNew {
                version,
                prober: head.prober_version.into(),
            });
        }
        Some(0) | None => {
            let why = format!("its `schema` is `{}`, not `{FORM}{VERSION}`", head.schema);
            return Err(Unreadable::damaged(&why));
        }
    }
    let Body { record } =
        serde_json::from_slice(text).map_err(|error| Unreadable::damaged(&error))?;
    // What is left over is the only text of a run that its type does not make safe to show.
    let odd = |name: &&String| Text::new(name).as_str() != name.as_str();
    if let Some(odd) = record.leftovers.iter().find(odd) {
        let why = format!("`{odd}` can't be a name");
        return Err(Unreadable::damaged(&why));
    }
    Ok(record)
}
