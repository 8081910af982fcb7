//! A problem in a configuration, with its place.

use std::fmt;

/// A place in the file: line and column count characters from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// Where a file begins.
    pub const START: Self = Self { line: 1, column: 1 };

    /// This position, or the end of `text` if it lies beyond it.
    #[must_use]
    pub fn within(self, text: &str) -> Self {
        let count = text.split('\n').count();
        let line = self.line.clamp(1, count);
        let last = text
            .split('\n')
            .nth(line - 1)
            .unwrap_or_default()
            .trim_end_matches('\r');
        let end = last.chars().count() + 1;
        let column = if self.line > count {
            end
        } else {
            self.column.clamp(1, end)
        };
        Self { line, column }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// Where.
    pub position: Position,
    /// What is wrong; what is allowed.
    pub message: String,
}

/// Everything that is wrong with one file, in the order of the file. Never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    /// The problems of `file`, whose content is `text`.
    pub(super) fn new(file: &str, text: &str, mut list: Vec<Problem>) -> Self {
        for problem in &mut list {
            problem.position = problem.position.within(text);
        }
        list.sort();
        list.dedup();
        Self {
            file: file.to_owned(),
            list,
        }
    }

    /// Each problem.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    /// One problem a line: `file:line:column: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (
            index,
            Problem {
                position: Position { line, column },
                message,
            },
        ) in self.list.iter().enumerate()
        {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{line}:{column}: {message}", self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A value of the file as a literal of a message: on one line, not endless.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut literal: String = text
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    // Quotes are escaped for Rust, which the reader need not know.
    literal = literal.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(LONGEST).is_some() {
        literal.push('…');
    }
    format!("`{literal}`")
}

/// `a`, `b` or `c`, each as a literal.
pub(super) fn listed<S: AsRef<str>>(names: &[S], before_last: &str) -> String {
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            text.push_str(if index + 1 == names.len() {
                before_last
            } else {
                ", "
            });
        }
        text.push('`');
        text.push_str(name.as_ref());
        text.push('`');
    }
    text
}
