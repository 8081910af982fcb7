//! A word of a command or a manifest: a name or value of a strict form, whoever wrote it, or a literal of
//! the program's own. All else stays text for people.

use std::path::Path;

use serde::Serialize;

use super::manifest::Patch;
use crate::model::text::Text;

/// A name that Kubernetes gives to objects: labels of RFC 1123, with dots between them.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(in crate::doctor) struct Name(String);

impl Name {
    /// The name, if it is one.
    pub(in crate::doctor) fn parse(text: &str) -> Option<Self> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let label = |label: &str| {
            let bytes = label.as_bytes();
            bytes.first().copied().is_some_and(inner)
                && bytes.last().copied().is_some_and(inner)
                && bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
        };
        (text.len() <= 253 && text.split('.').all(label)).then(|| Self(text.to_owned()))
    }

    /// The name.
    pub(in crate::doctor) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value for Vault or for a selector, of characters that mean nothing to it, to a shell or to a flag: no `@`, `-`
/// or `+` leads it, and no comma makes two of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::doctor) struct Plain(String);

impl Plain {
    /// The value, if it is one.
    pub(in crate::doctor) fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:|+@".contains(&byte);
        let lead = |first: char| first.is_ascii_alphanumeric() || first == '_';
        let plain = text.len() <= 512 && text.starts_with(lead) && text.bytes().all(fits);
        (plain && !text.contains("..")).then(|| Self(text.to_owned()))
    }
}

/// A text of one line that shows as it is, for values in manifests.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(in crate::doctor) struct Line(String);

impl Line {
    /// The text, if it is one.
    pub(in crate::doctor) fn parse(text: &str) -> Option<Self> {
        let shows = !text.is_empty() && Text::new(text) == text;
        shows.then(|| Self(text.to_owned()))
    }
}

impl From<&'static str> for Line {
    fn from(literal: &'static str) -> Self {
        Self(literal.to_owned())
    }
}

/// A file that a command may write, by a path that shows as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::doctor) struct File(String);

impl File {
    /// The file, if its path is such a one.
    pub(in crate::doctor) fn parse(path: &Path) -> Option<Self> {
        Line::parse(path.to_str()?).map(|Line(path)| Self(path))
    }
}

/// A label selector of Kubernetes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::doctor) struct Selector(String);

impl Selector {
    /// The selector, if it is of a selector's characters.
    pub(in crate::doctor) fn parse(text: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || " ._/=!,()-".contains(c);
        (!text.is_empty() && text.chars().all(fits)).then(|| Self(text.to_owned()))
    }
}

/// A variable of a shell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::doctor) struct Variable(String);

impl Variable {
    /// The variable of this name, if it can be one's.
    pub(in crate::doctor) fn parse(name: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let first = |first: char| first.is_ascii_alphabetic() || first == '_';
        (name.starts_with(first) && name.bytes().all(fits)).then(|| Self(name.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One word of a command, as the program gets it. There is no way to make one of any text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::doctor) struct Word(String);

impl Word {
    /// The word with more at its end.
    pub(in crate::doctor) fn then(mut self, more: impl Into<Self>) -> Self {
        self.0.push_str(&more.into().0);
        self
    }

    /// A key, and its value after a `=`.
    pub(in crate::doctor) fn pair(key: &'static str, value: impl Into<Self>) -> Self {
        Self::from(key).then("=").then(value)
    }

    /// One word of several, with commas between.
    pub(in crate::doctor) fn list(all: impl IntoIterator<Item = Self>) -> Self {
        let mut all = all.into_iter();
        let first = all.next().unwrap_or_default();
        all.fold(first, |list, one| list.then(",").then(one))
    }

    /// As a shell reads it back, quoted where it would take it for something else.
    pub(super) fn quoted(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,".contains(c);
        let text = &self.0;
        if !text.is_empty() && text.chars().all(plain) && !text.starts_with('=') {
            text.to_owned()
        } else {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
    }
}

impl From<&'static str> for Word {
    fn from(literal: &'static str) -> Self {
        Self(literal.to_owned())
    }
}

impl From<&Name> for Word {
    fn from(name: &Name) -> Self {
        Self(name.0.clone())
    }
}

impl From<&Plain> for Word {
    fn from(value: &Plain) -> Self {
        Self(value.0.clone())
    }
}

impl From<&Selector> for Word {
    fn from(selector: &Selector) -> Self {
        Self(selector.0.clone())
    }
}

impl From<&File> for Word {
    fn from(file: &File) -> Self {
        Self(file.0.clone())
    }
}

impl From<&Patch> for Word {
    fn from(patch: &Patch) -> Self {
        Self(patch.json())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    const FOREIGN: [&str; 12] = [
        "x';touch /tmp/PWNED;echo '",
        "x;touch${IFS}PWNED;echo",
        "x,labels:{a:b},annotations:{c:d",
        "",
        "-o=yaml",
        "@/etc/passwd",
        "..",
        "a b",
        "a\nEOF\nb",
        "$(id)",
        "\u{1b}[2J",
        "a\u{202e}b",
    ];

    #[test]
    fn what_is_no_name_is_none() {
        for text in FOREIGN {
            assert_eq!(Name::parse(text), None, "{text:?}");
            assert_eq!(Plain::parse(text), None, "{text:?}");
            assert_eq!(Variable::parse(text), None, "{text:?}");
        }
        for text in ["Upper", "a_b", "-a", "a-", ".a", "a..b", &"a".repeat(254)] {
            assert_eq!(Name::parse(text), None, "{text:?}");
        }
        for text in ["a", "0", "vso-prober", "a.b-c.d1"] {
            assert!(Name::parse(text).is_some(), "{text:?}");
        }
        for text in [
            "auth0|123",
            "https://kubernetes.default.svc",
            "team/a/kv",
            "_x",
        ] {
            assert!(Plain::parse(text).is_some(), "{text:?}");
        }
        assert!(Line::parse("a b").is_some() && Line::parse("a\u{1b}").is_none());
        assert!(File::parse(Path::new("/with blank/it's")).is_some());
        assert!(File::parse(Path::new("/a\u{202e}b")).is_none());
    }

    /// What a shell makes of words: each ended by a NUL.
    fn read_back(words: &[Word]) -> Vec<String> {
        let quoted: Vec<_> = words.iter().map(Word::quoted).collect();
        let script = format!("printf '%s\\0' {}", quoted.join(" "));
        let output = Command::new("sh").args(["-c", &script]).output();
        let output = output.expect("there is a shell").stdout;
        let text = String::from_utf8(output).expect("what went in");
        let mut all: Vec<_> = text.split('\0').map(str::to_owned).collect();
        all.pop();
        all
    }

    proptest! {
        #[test]
        fn a_shell_reads_back_every_word(
            texts in prop::collection::vec("[^\u{0}]{0,20}|[ a-z'\"$`\\\\;|&<>(){}*?~#!=\n-]{0,20}", 1..20),
        ) {
            let words: Vec<_> = texts.iter().map(|text| Word(text.clone())).collect();
            prop_assert_eq!(read_back(&words), texts);
        }
    }
}
