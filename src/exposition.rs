//! A parser of samples in Prometheus' text format and OpenMetrics', which borrows from the text: what nobody asks for
//! costs nothing.

use std::borrow::Cow;

/// One sample: the value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The name, with its suffix: `…_sum`, `…_count`, `…_total`.
    pub name: &'a str,
    /// The value; `NaN` and the infinities are ones.
    pub value: f64,
    /// What stands between the braces, known to be well formed.
    labels: &'a str,
}

impl<'a> Sample<'a> {
    /// Its labels, in the order in which they are written: names, and values without their escapes.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        let mut rest = self.labels;
        std::iter::from_fn(move || {
            let (name, value, after) = label(rest)?;
            rest = after;
            Some((name, unescaped(value)))
        })
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<Cow<'a, str>> {
        self.labels()
            .find(|label| label.0 == name)
            .map(|label| label.1)
    }
}

/// The samples of an exposition, in order. Comments, timestamps and exemplars are passed over; so is a line
/// that can't be understood, and a last one that was cut off.
pub fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .filter_map(sample)
}

/// Reads one line.
fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim_ascii();
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (mut name, after) = line.split_at(end);
    let after = after.trim_ascii_start();
    // Comments are no names either.
    if !plain(name) {
        return None;
    }
    let (labels, after) = match after.strip_prefix('{') {
        None => ("", after),
        Some(mut inside) => {
            if name.is_empty() {
                // A name beyond the plain alphabet stands before the labels, in quotes.
                (name, inside) = quoted(inside.trim_ascii_start())?;
            }
            let mut rest = inside;
            while let Some((_, _, after)) = label(rest) {
                rest = after;
            }
            let after = separated(rest).strip_prefix('}')?;
            (&inside[..inside.len() - rest.len()], after)
        }
    };
    let value = after.split_ascii_whitespace().next()?.parse().ok()?;
    let sample = Sample {
        name,
        value,
        labels,
    };
    (!name.is_empty()).then_some(sample)
}

/// Takes the next label off: its name, its value as it is written, and what follows.
fn label(text: &str) -> Option<(&str, &str, &str)> {
    let text = separated(text);
    let (name, rest) = if text.starts_with('"') {
        quoted(text)?
    } else {
        let (name, _) = text.split_once('=')?;
        let rest = &text[name.len()..];
        (
            Some(name.trim_ascii_end()).filter(|name| plain(name))?,
            rest,
        )
    };
    let rest = rest.trim_ascii_start().strip_prefix('=')?;
    let (value, rest) = quoted(rest.trim_ascii_start())?;
    Some((name, value, rest))
}

/// Takes off what separates labels.
fn separated(text: &str) -> &str {
    text.trim_start_matches([',', ' ', '\t'])
}

/// Takes a quoted text off: what is between the quotes, as it is written, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inside.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    Some((&inside[..end], &inside[end + 1..]))
}

/// Whether a name needs no quotes.
fn plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
}

/// The value that is meant by what is written.
fn unescaped(written: &str) -> Cow<'_, str> {
    if !written.contains('\\') {
        return Cow::Borrowed(written);
    }
    let mut meant = String::with_capacity(written.len());
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('n') => meant.push('\n'),
                Some(c @ ('\\' | '"')) => meant.push(c),
                other => meant.extend(['\\'].into_iter().chain(other)),
            },
            c => meant.push(c),
        }
    }
    Cow::Owned(meant)
}
