//! YAML as a tree that knows where each node stands, and keeps a key that is written twice.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use super::problem::{Position, Problem, quoted};

/// Deeper than any configuration, and far from the end of the stack.
const MAX_DEPTH: usize = 32;

/// More than any configuration has, so that aliases of aliases can't fill the memory.
const MAX_NODES: usize = 100_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

/// What YAML's core schema makes of a node.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// With the text as written.
    Number(serde_json::Number, String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file, each key as often as it is written.
    Map(Vec<(Key, Node)>),
}

/// A key and its place.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) position: Position,
    pub(super) name: String,
}

/// Reads the one document of a file.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let events = Parser::new_from_str(text);
    let mut reader = Reader {
        events,
        anchors: HashMap::new(),
        budget: MAX_NODES,
    };
    let mut root = None;
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::DocumentStart(_) if root.is_some() => {
                return Err(problem(
                    span.start,
                    "a second document begins here; a configuration is a single document",
                ));
            }
            Event::Nothing
            | Event::StreamStart
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::StreamEnd => {}
            _ => root = Some(reader.node(event, span, 0)?),
        }
    }
    Ok(root.unwrap_or(Node {
        position: Position::START,
        value: Value::Null,
    }))
}

struct Reader<I> {
    events: I,
    anchors: HashMap<usize, Node>,
    budget: usize,
}

impl<'t, I> Reader<I>
where
    I: Iterator<Item = Result<(Event<'t>, Span), ScanError>>,
{
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Problem> {
        self.events
            .next()
            .transpose()
            .map_err(|error| syntax(&error))
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Problem> {
        if depth > MAX_DEPTH {
            return Err(problem(
                span.start,
                "is nested too deeply for a configuration",
            ));
        }
        self.spend(1, span)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref(), span)?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                no_tag(tag.as_deref(), span)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                no_tag(tag.as_deref(), span)?;
                (self.map(depth)?, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(problem(
                        span.start,
                        "the alias stands inside what it refers to",
                    ));
                };
                let (nodes, levels) = size(&node);
                if depth + levels > MAX_DEPTH {
                    return Err(problem(
                        span.start,
                        "is nested too deeply for a configuration",
                    ));
                }
                self.spend(nodes, span)?;
                return Ok(node);
            }
            _ => (Value::Null, 0),
        };
        let node = Node {
            position: position(span.start),
            value,
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, span, depth + 1)?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, depth: usize) -> Result<Value, Problem> {
        let mut entries = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let Event::Scalar(name, ..) = event else {
                return Err(problem(span.start, "a key must be a plain word"));
            };
            let key = Key {
                position: position(span.start),
                name: name.into_owned(),
            };
            let Some((event, span)) = self.next()? else {
                break;
            };
            entries.push((key, self.node(event, span, depth + 1)?));
        }
        Ok(Value::Map(entries))
    }

    fn spend(&mut self, nodes: usize, span: Span) -> Result<(), Problem> {
        self.budget = self
            .budget
            .checked_sub(nodes)
            .ok_or_else(|| problem(span.start, "the file is too large for a configuration"))?;
        Ok(())
    }
}

/// How many nodes there are, and how many levels of them.
fn size(node: &Node) -> (usize, usize) {
    let add = |(nodes, levels): (usize, usize), child: &Node| {
        let (more, below) = size(child);
        (nodes + more, levels.max(below + 1))
    };
    match &node.value {
        Value::List(items) => items.iter().fold((1, 1), add),
        Value::Map(entries) => entries.iter().map(|(_, child)| child).fold((1, 1), add),
        Value::Null | Value::Bool(_) | Value::Number(..) | Value::Text(_) => (1, 1),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Value, Problem> {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if !is_text {
        no_tag(tag, span)?;
    }
    if is_text || style != ScalarStyle::Plain {
        return Ok(Value::Text(text.to_owned()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(
            || Value::Text(text.to_owned()),
            |number| Value::Number(number, text.to_owned()),
        ),
    })
}

fn number(text: &str) -> Option<serde_json::Number> {
    let radix = |digits: &str, radix| {
        let unsigned = !digits.starts_with(['+', '-']);
        unsigned
            .then(|| u64::from_str_radix(digits, radix).ok())
            .flatten()
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16).map(Into::into);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8).map(Into::into);
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    // Rust takes `inf` and `nan` for numbers too, YAML does not.
    let looks_like_one = text.bytes().all(|byte| b"0123456789+-.eE".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    looks_like_one
        .then(|| text.parse::<f64>().ok())
        .flatten()
        .and_then(serde_json::Number::from_f64)
}

fn no_tag(tag: Option<&Tag>, span: Span) -> Result<(), Problem> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err(problem(
            span.start,
            &format!(
                "the tag {} has no meaning here; remove it",
                quoted(&tag.to_string())
            ),
        )),
        _ => Ok(()),
    }
}

fn position(marker: Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

fn problem(marker: Marker, message: &str) -> Problem {
    Problem {
        position: position(marker),
        message: message.to_owned(),
    }
}

fn syntax(error: &ScanError) -> Problem {
    let info = error.info();
    let advice = if info.contains("tab ") || info.contains("tabs ") || info.ends_with(" tab") {
        "; indent with spaces"
    } else if info.contains("mapping values are not allowed") {
        "; check the indentation, and quote a value that contains `: `"
    } else if info.contains("quoted scalar") {
        "; a closing quote may be missing"
    } else if info.contains("flow") || info == "invalid indentation" {
        "; a closing bracket may be missing"
    } else if info.contains("indentation") || info.contains("expected key") {
        "; check the indentation"
    } else {
        ""
    };
    problem(*error.marker(), &format!("not YAML: {info}{advice}"))
}
