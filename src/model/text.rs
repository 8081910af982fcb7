//! Text that others may have written, made safe to show: on one line, bounded, and without a character that
//! steers a terminal or turns the order of what is read.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// No text is longer, in bytes: a message of the operator's with an error of Vault's in it fits.
const LONGEST: usize = 1024;
/// What a text ends in that was longer.
const CUT: char = '…';

/// One line of at most 1 KiB. Control characters, and those that can't be seen or that turn the direction of
/// writing, stand in it as `\u{1b}`; runs of white space are one blank each.
///
/// All that comes from outside (events, statuses, answers, names, labels) becomes one of these before it
/// reaches evidence, an obstacle, a check or the log, so that no output has to escape it again.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Text(String);

impl Text {
    /// Makes any text safe to show.
    pub fn new(text: &str) -> Self {
        let mut safe = String::with_capacity(text.len().min(LONGEST));
        let mut blank = false;
        for c in text.chars() {
            if c.is_whitespace() {
                blank = !safe.is_empty();
                continue;
            }
            let escaped: Cow<'_, str> = if steers(c) {
                c.escape_unicode().to_string().into()
            } else {
                c.encode_utf8(&mut [0; 4]).to_owned().into()
            };
            let more = escaped.len() + usize::from(blank);
            if safe.len() + more + CUT.len_utf8() > LONGEST {
                safe.push(CUT);
                return Self(safe);
            }
            if std::mem::take(&mut blank) {
                safe.push(' ');
            }
            safe.push_str(&escaped);
        }
        Self(safe)
    }

    /// The text with more at its end.
    #[must_use]
    pub fn and(&self, more: &str) -> Self {
        Self::new(&format!("{self}{more}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a character steers a terminal, turns the direction of writing, or can't be seen.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer).map(|text| Self::new(&text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_spelled_out() {
        let check = |text: &str, expected: &str| assert_eq!(Text::new(text), expected, "{text:?}");
        check("plain, with ü and 漢", "plain, with ü and 漢");
        check(
            "\u{1b}]0;OWNED\u{7}\u{1b}[2J",
            r"\u{1b}]0;OWNED\u{7}\u{1b}[2J",
        );
        check("a\r\n2026-01-01  INFO forged", "a 2026-01-01 INFO forged");
        check("abc\u{202e}gpj.exe", r"abc\u{202e}gpj.exe");
        check("\u{2028} \u{85}", "");
        check("a\u{9b}31m", r"a\u{9b}31m");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let text = Text::new(&"ä".repeat(900_000));
        assert!(
            text.len() <= LONGEST && text.ends_with(CUT),
            "{}",
            text.len()
        );
        assert_eq!(Text::new(&"a".repeat(LONGEST - 3)).len(), LONGEST - 3);
    }

    proptest! {
        #[test]
        fn whatever_is_said_stays_one_bounded_line(text in r"\PC*|.{0,2000}|[\s\S]{0,2000}") {
            let safe = Text::new(&text);
            prop_assert!(safe.len() <= LONGEST);
            prop_assert!(!safe.chars().any(steers) && !safe.contains(['\n', '\r', '\t']));
            prop_assert_eq!(&Text::new(&safe), &safe, "made safe once, it stays as it is");
        }
    }
}
