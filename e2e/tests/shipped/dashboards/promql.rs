//! The metrics and labels in a `PromQL` query. Enough to check rules and dashboards against what is exported; Prometheus itself checks the syntax.

use std::collections::BTreeSet;

/// What stands in a query beside functions, metrics and numbers.
const WORDS: [&str; 8] = [
    "and", "or", "unless", "bool", "offset", "inf", "nan", "atan2",
];
/// What labels in parentheses follow.
const LISTS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];

/// What a query names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) selectors: Vec<Selector>,
    /// The labels that it groups, joins or counts by.
    pub(crate) labels: BTreeSet<String>,
    /// The strings that are arguments of functions.
    pub(crate) strings: Vec<String>,
}

/// A metric, as it is selected.
#[derive(Debug, Default)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    /// Labels and what they are compared with, operators left aside.
    pub(crate) matchers: Vec<(String, String)>,
    /// The function whose first argument it is.
    pub(crate) function: Option<String>,
    /// What stands between brackets.
    pub(crate) window: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Window(String),
    Sign(char),
}

/// Reads a query.
pub(crate) fn names(query: &str) -> Names {
    let tokens = tokens(query);
    let mut names = Names::default();
    let mut at = 0;
    while at < tokens.len() {
        let next = tokens.get(at + 1);
        at += match &tokens[at] {
            Token::Word(word) if LISTS.contains(&word.as_str()) => {
                let list = until(&tokens[at + 1..], ')');
                let words = list.iter().filter_map(word_of);
                // `group_left` may go without.
                if next == Some(&Token::Sign('(')) {
                    names.labels.extend(words);
                    1 + list.len()
                } else {
                    1
                }
            }
            Token::Word(word)
                if next == Some(&Token::Sign('('))
                    || WORDS.contains(&word.to_lowercase().as_str()) =>
            {
                1
            }
            // Of an aggregation: `sum by (…) (…)`.
            Token::Word(_)
                if matches!(next, Some(Token::Word(list)) if LISTS.contains(&list.as_str()))
                    && is_aggregation(&tokens[at]) =>
            {
                1
            }
            Token::Word(word) if !word.starts_with(|first: char| first.is_ascii_digit()) => {
                let braces = next == Some(&Token::Sign('{'));
                let inside = if braces {
                    until(&tokens[at + 1..], '}')
                } else {
                    &[]
                };
                let window = match tokens.get(at + 1 + inside.len()) {
                    Some(Token::Window(window)) => Some(window.clone()),
                    _ => None,
                };
                let function = match at.checked_sub(2).map(|before| &tokens[before..at]) {
                    Some([Token::Word(function), Token::Sign('(')]) => Some(function.clone()),
                    _ => None,
                };
                names.selectors.push(Selector {
                    metric: word.clone(),
                    matchers: matchers(inside),
                    function,
                    window,
                });
                1 + inside.len()
            }
            Token::Text(text) => {
                names.strings.push(text.clone());
                1
            }
            _ => 1,
        };
    }
    names
}

fn is_aggregation(token: &Token) -> bool {
    matches!(token, Token::Word(word) if ["sum", "max", "min", "avg", "count", "group", "topk", "count_values"].contains(&word.as_str()))
}

fn word_of(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) => Some(word.clone()),
        _ => None,
    }
}

/// The tokens up to and with this sign.
fn until(tokens: &[Token], sign: char) -> &[Token] {
    let end = tokens.iter().position(|token| *token == Token::Sign(sign));
    &tokens[..end.map_or(tokens.len(), |end| end + 1)]
}

fn matchers(inside: &[Token]) -> Vec<(String, String)> {
    let mut matchers = Vec::new();
    let mut label = None;
    for token in inside {
        match token {
            Token::Word(word) => label = Some(word.clone()),
            Token::Text(text) => matchers.extend(label.take().map(|label| (label, text.clone()))),
            _ => {}
        }
    }
    matchers
}

fn tokens(query: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' | '\'' => {
                let text: String = rest[1..]
                    .chars()
                    .take_while(|letter| *letter != first)
                    .collect();
                let length = text.len() + 2;
                (Some(Token::Text(text)), length)
            }
            '[' => {
                let text: String = rest[1..]
                    .chars()
                    .take_while(|letter| *letter != ']')
                    .collect();
                let length = text.len() + 2;
                (Some(Token::Window(text)), length)
            }
            letter if letter.is_ascii_alphanumeric() || letter == '_' => {
                let part =
                    |letter: &char| letter.is_ascii_alphanumeric() || "_:.".contains(*letter);
                let word: String = rest.chars().take_while(part).collect();
                let length = word.len();
                (Some(Token::Word(word)), length)
            }
            letter if letter.is_whitespace() => (None, letter.len_utf8()),
            letter => (Some(Token::Sign(letter)), letter.len_utf8()),
        };
        tokens.extend(token);
        rest = &rest[length..];
    }
    tokens
}
