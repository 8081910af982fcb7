//! Tests of the house rules that no lint can tell: rooms and arrows, purity, printing, plain first lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, iter};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The arrows: each room, and the rooms that it uses. A room uses only rooms that stand above it, so
/// nothing points back.
const ARROWS: &[(&str, &[&str])] = &[
    ("retry", &[]),
    ("shutdown", &[]),
    ("telemetry", &[]),
    ("model", &[]),
    ("panic", &[]),
    ("schedule", &["model"]),
    ("server", &["model", "shutdown"]),
    ("health", &["model", "panic"]),
    ("exposition", &[]),
    ("config", &["model"]),
    ("wire", &["config", "model"]),
    ("operator", &["exposition", "model"]),
    ("judge", &["model"]),
    ("audit", &["model"]),
    ("publish", &["config", "model"]),
    ("history", &["config", "model", "wire"]),
    (
        "push",
        &["config", "model", "publish", "retry", "shutdown", "wire"],
    ),
    ("canary", &["config", "model", "operator"]),
    ("rights", &["canary", "config", "model", "operator"]),
    ("kubernetes", &["config", "model", "wire"]),
    (
        "tail",
        &[
            "config",
            "health",
            "kubernetes",
            "model",
            "retry",
            "server",
            "shutdown",
            "wire",
        ],
    ),
    ("vault", &["config", "model", "retry", "wire"]),
    ("postgres", &["config", "model", "wire"]),
    (
        "scrape",
        &["config", "kubernetes", "model", "operator", "wire"],
    ),
    (
        "observe",
        &[
            "canary",
            "health",
            "kubernetes",
            "model",
            "operator",
            "retry",
            "wire",
        ],
    ),
    (
        "janitor",
        &[
            "canary",
            "config",
            "kubernetes",
            "model",
            "operator",
            "retry",
            "vault",
            "wire",
        ],
    ),
    (
        "probe",
        &[
            "canary",
            "config",
            "health",
            "janitor",
            "kubernetes",
            "model",
            "observe",
            "operator",
            "panic",
            "postgres",
            "scrape",
            "shutdown",
            "vault",
            "wire",
        ],
    ),
    (
        "doctor",
        &[
            "canary",
            "config",
            "kubernetes",
            "model",
            "operator",
            "push",
            "rights",
            "scrape",
            "vault",
            "wire",
        ],
    ),
    (
        "round",
        &[
            "canary", "config", "janitor", "judge", "model", "operator", "panic", "probe",
            "shutdown",
        ],
    ),
    (
        "leader",
        &["health", "kubernetes", "model", "shutdown", "wire"],
    ),
    (
        "http",
        &[
            "audit", "health", "history", "model", "publish", "server", "shutdown",
        ],
    ),
    (
        "serve",
        &[
            "audit",
            "canary",
            "config",
            "health",
            "history",
            "http",
            "judge",
            "kubernetes",
            "model",
            "operator",
            "probe",
            "publish",
            "push",
            "round",
            "schedule",
            "scrape",
            "shutdown",
            "tail",
            "telemetry",
            "vault",
            "wire",
        ],
    ),
    ("cli", &["telemetry"]),
    (
        "command",
        &[
            "audit",
            "cli",
            "config",
            "doctor",
            "health",
            "history",
            "http",
            "janitor",
            "judge",
            "kubernetes",
            "leader",
            "model",
            "probe",
            "publish",
            "push",
            "rights",
            "round",
            "serve",
            "shutdown",
            "tail",
            "vault",
            "wire",
        ],
    ),
    ("main", &["cli", "command", "panic", "telemetry"]),
];

/// The rooms that only decide: no clock, no I/O, no runtime, no chance of their own.
const PURE: &[&str] = &[
    "audit",
    "canary",
    "config",
    "exposition",
    "judge",
    "model",
    "operator",
    "rights",
    "schedule",
];

/// What a pure room must not name.
const IMPURE: &[&str] = &[
    "async",
    "tokio",
    "reqwest",
    "kube::Client",
    "std::env",
    "std::fs",
    "std::net::TcpStream",
    "std::process",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "rand::rng",
    "rand::random",
    "thread_rng",
];

/// What is banned outside of some rooms, and why.
const BANS: &[(&str, &[&str], &str)] = &[
    (
        "backoff",
        &["retry"],
        "the crate is unmaintained, so that one room alone knows it",
    ),
    (
        "std::time::Instant",
        &[],
        "a test can't pause it; take `tokio::time::Instant`",
    ),
    (
        "tokio::time::sleep",
        &["retry"],
        "wait for what is to come, or for a deadline with `sleep_until`",
    ),
    ("reqwest::get", &[], "it has no limit of time"),
    ("mul_f64", &[], FACTORS),
    ("mul_f32", &[], FACTORS),
    ("div_f64", &[], FACTORS),
    ("div_f32", &[], FACTORS),
    ("from_secs_f64", &[], FACTORS),
    ("from_secs_f32", &[], FACTORS),
    ("println!", PRINTERS, PRINTING),
    ("print!", PRINTERS, PRINTING),
    ("eprintln!", PRINTERS, PRINTING),
    ("eprint!", PRINTERS, PRINTING),
    ("dbg!", &[], PRINTING),
];
const FACTORS: &str = "it panics where the span can't be held; `model::time` has what does not";
const PRINTERS: &[&str] = &["command", "main", "publish"];
const PRINTING: &str = "results are printed by `command` and `publish`, an error once by `main`, \
                        and all else is logged";

/// The operator's own words, and the rooms that may know them. What a user's configuration is called after them is the
/// configuration's.
const WORDS: &[(&str, &[&str])] = &[
    ("horizon", &["operator"]),
    ("JITTER", &["operator"]),
    ("SecretSynced", &["operator"]),
    ("Secret synced", &["operator"]),
    (
        "renewal_percent",
        &["canary", "config", "operator", "vault"],
    ),
];

/// How many lines a file may have before it is split.
const LINES: usize = 400;
/// How many lines the map of the house may have.
const MAP_LINES: usize = 150;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    let mut taken = BTreeSet::new();
    for file in files() {
        for (line, path) in file.paths() {
            let Some(used) = file.room_used(&path) else {
                continue;
            };
            taken.insert((file.room.clone(), used.to_owned()));
            if !allowed(&file.room).contains(&used) {
                wrong.push(format!(
                    "{}:{line}: `{}` must not use `{used}`",
                    file.name, file.room
                ));
            }
        }
    }
    for (place, (room, used)) in ARROWS.iter().enumerate() {
        for used in *used {
            if !taken.contains(&((*room).to_owned(), (*used).to_owned())) {
                wrong.push(format!(
                    "the table has `{room}` → `{used}`, which nothing needs"
                ));
            }
            if !ARROWS[..place].iter().any(|(above, _)| above == used) {
                wrong.push(format!(
                    "the table has `{used}` not above `{room}`, which uses it"
                ));
            }
        }
    }
    report(
        "arrows that ARROWS in tests/core/house.rs does not have, or has wrong",
        &wrong,
    );
}

#[test]
fn the_table_has_every_room() {
    let listed: BTreeSet<_> = ARROWS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(
        rooms(),
        listed,
        "left: the rooms in src, right: those in ARROWS in tests/core/house.rs"
    );
}

#[test]
fn pure_rooms_stay_pure() {
    let mut wrong = Vec::new();
    for file in files() {
        if !PURE.contains(&file.room.as_str()) {
            continue;
        }
        for (line, path) in file.paths() {
            if let Some(impure) = IMPURE.iter().find(|impure| names(&path, impure)) {
                wrong.push(format!(
                    "{}:{line}: `{}` names `{impure}`",
                    file.name, file.room
                ));
            }
        }
    }
    report(
        "pure rooms that are not: pass in what they need, or do it in the shell",
        &wrong,
    );
}

#[test]
fn what_is_banned_stays_where_it_belongs() {
    let mut wrong = Vec::new();
    for file in files() {
        for (line, path) in file.paths() {
            for (banned, rooms, why) in BANS {
                if names(&path, banned) && !rooms.contains(&file.room.as_str()) {
                    wrong.push(format!("{}:{line}: `{banned}`: {why}", file.name));
                }
            }
        }
    }
    report("names used where they are banned", &wrong);
}

/// It plays the operator, so that it must not know how it is judged.
#[test]
fn the_stand_in_sees_the_operators_types_alone() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in sources(&root().join("e2e/standin")) {
        for rest in read(&file).split("vso_prober::").skip(1) {
            seen += 1;
            if !rest.starts_with("operator::") {
                let name: String = rest.chars().take_while(|c| *c != ';').collect();
                wrong.push(format!("{}: `vso_prober::{name}`", file.display()));
            }
        }
    }
    assert!(seen > 0, "the stand-in uses none of the operator's types");
    report("what the stand-in must not see of the prober", &wrong);
}

#[test]
fn the_operators_words_stay_in_its_room() {
    let mut wrong = Vec::new();
    for file in files() {
        let tokens = file.text.parse().expect("it is Rust");
        words(tokens, &mut |line, said| {
            for (word, rooms) in WORDS {
                if said.contains(word) && !rooms.contains(&file.room.as_str()) {
                    wrong.push(format!("{}:{line}: `{word}`", file.name));
                }
            }
        });
    }
    report(
        "words of the operator's outside of `operator`, which alone knows what they mean",
        &wrong,
    );
}

#[test]
fn no_rule_reads_the_timeline() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.room == "judge") {
        let tokens = file.text.parse().expect("it is Rust");
        words(tokens, &mut |line, said| {
            if ["timeline", "Timeline", "Sighting", "Seen"].contains(&said) {
                wrong.push(format!("{}:{line}: `{said}`", file.name));
            }
        });
    }
    report(
        "what was seen is read in `operator::account`, once; rules go by the account",
        &wrong,
    );
}

#[test]
fn words_are_read_from_code_and_from_nothing_else() {
    let text = r#"
        /// The horizon.
        fn f(one: T) { g("two", [x.three]) }
        #[serde(rename = "horizon")]
        #[cfg(test)]
        mod tests { fn horizon() {} }
    "#;
    let mut found = Vec::new();
    words(text.parse().expect("Rust"), &mut |_, word| {
        found.push(word.to_owned());
    });
    assert_eq!(found, ["fn", "f", "one", "T", "g", "\"two\"", "x", "three"]);
}

/// Tells each name and each literal of the code, with its line: comments, attributes and tests hold none.
fn words(tokens: TokenStream, tell: &mut impl FnMut(usize, &str)) {
    let tokens = without_tests(tokens);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            // `#[…]`, and `#![…]`.
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                let brackets = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket);
                let end = tokens[at..].iter().take(2).position(brackets);
                at += end.map_or(0, |end| end + 1);
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                tell(token.span().start().line, &token.to_string());
            }
            TokenTree::Group(group) => words(group.stream(), tell),
            TokenTree::Punct(_) => {}
        }
    }
}

#[test]
fn bodies_are_read_within_limits() {
    let mut wrong = Vec::new();
    for file in files() {
        let tokens = file.text.parse().expect("it is Rust");
        for (line, method) in awaited(tokens) {
            wrong.push(format!("{}:{line}: `{method}().await`", file.name));
        }
    }
    report(
        "bodies read without a limit: `wire::http::body` has one, `wire::http::beginning` takes the first words",
        &wrong,
    );
}

/// What the prober's own texts say of an answer: whoever looks for it should ask the `Reply`.
const OWN_WORDS: [&str; 4] = ["answered", "no answer", "tried to", "a token of the"];

#[test]
fn nobody_reads_the_programs_own_prose() {
    let mut wrong = Vec::new();
    for file in files() {
        let tokens = file.text.parse().expect("it is Rust");
        for (line, looked) in looked_for(tokens) {
            wrong.push(format!("{}:{line}: {looked}", file.name));
        }
    }
    report(
        "texts of the program's own that are searched to learn what happened: `model::reply::Reply` says it",
        &wrong,
    );
}

#[test]
fn a_search_of_own_prose_is_found() {
    let text = r#"
        fn f() { if obstacle.text.contains(x) || said.starts_with("the API server answered 4") { g() } }
        fn h() { text.contains("tab "); a.text.trim(); }
        #[cfg(test)]
        mod tests { fn i() { obstacle.text.contains("answered 403") } }
    "#;
    let found = looked_for(text.parse().expect("Rust"));
    assert_eq!(found.len(), 2, "{found:?}");
}

/// Searches of a field `text`, and for what the prober's own texts say, with their lines.
fn looked_for(tokens: TokenStream) -> Vec<(usize, String)> {
    let tokens = without_tests(tokens);
    let text = |at: usize| tokens.get(at).map(ToString::to_string).unwrap_or_default();
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if ["contains", "starts_with", "ends_with", "find"].contains(&text(at).as_str()) {
            let field = at >= 3 && text(at - 3) == "." && text(at - 2) == "text";
            let looked = text(at + 1);
            if field || OWN_WORDS.iter().any(|own| looked.contains(own)) {
                let line = token.span().start().line;
                found.push((line, format!("{}{looked}", text(at))));
            }
        }
        if let TokenTree::Group(group) = token {
            found.extend(looked_for(group.stream()));
        }
    }
    found
}

/// Calls of methods of an HTTP answer that read all of its body, with their lines.
fn awaited(tokens: TokenStream) -> Vec<(usize, String)> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let text = |at: usize| tokens.get(at).map(ToString::to_string).unwrap_or_default();
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let method = token.to_string();
        let whole = ["bytes", "json", "text", "text_with_charset"].contains(&method.as_str());
        if whole && text(at + 1) == "()" && text(at + 2) == "." && text(at + 3) == "await" {
            found.push((token.span().start().line, method));
        }
        if let TokenTree::Group(group) = token {
            found.extend(awaited(group.stream()));
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for file in files() {
        let opening: Vec<_> = file
            .text
            .lines()
            .map_while(|line| line.strip_prefix("//! "))
            .collect();
        if !opening.join(" ").contains('.') {
            wrong.push(format!("{}: no `//!` sentence at its head", file.name));
        }
    }
    report("files that do not say what they are for", &wrong);
}

#[test]
fn no_file_outgrows_one_idea() {
    let wrong: Vec<_> = files()
        .into_iter()
        .map(|file| (file.text.lines().count(), file.name))
        .filter(|(lines, _)| *lines > LINES)
        .map(|(lines, name)| format!("{name}: {lines} lines"))
        .collect();
    report(
        &format!("files of more than {LINES} lines: split them"),
        &wrong,
    );
}

/// A first line that begins so is a question to guess at, not the name of a thing.
const RIDDLES: &[&str] = &[
    "for", "from", "how", "what", "when", "where", "whether", "which", "who", "whoever", "whom",
    "whose", "why",
];

#[test]
fn files_open_with_what_they_are() {
    let mut wrong = Vec::new();
    let folders = ["src", "tests", "e2e"].map(|folder| root().join(folder));
    for file in folders.iter().flat_map(|folder| sources(folder)) {
        let text = read(&file);
        let first = text.lines().find_map(|line| line.strip_prefix("//! "));
        let word = first.and_then(|line| line.split(|c: char| !c.is_alphabetic()).next());
        let word = word.map(str::to_lowercase);
        if word.is_none_or(|word| RIDDLES.contains(&word.as_str())) {
            let first = first.unwrap_or("no line that begins with //!");
            wrong.push(format!("{}: {first}", file.display()));
        }
    }
    report(
        "first lines that don't say, as a noun, what the file is",
        &wrong,
    );
}

/// A tag can be moved to other code, a commit can't.
#[test]
fn actions_are_pinned_by_commit() {
    let folder = root().join(".github/workflows");
    let entries = fs::read_dir(&folder).expect("there are workflows");
    let mut wrong = Vec::new();
    let mut found = 0;
    for entry in entries {
        let file = entry.expect("a folder can be read to its end").path();
        let text = read(&file);
        for line in text.lines() {
            let line = line.trim().trim_start_matches("- ");
            let Some(action) = line.strip_prefix("uses: ") else {
                continue;
            };
            found += 1;
            let pinned = action.split_once('@').and_then(|(_, rest)| {
                let (commit, version) = rest.split_once(" # v")?;
                let hex = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
                (hex && version.starts_with(|c: char| c.is_ascii_digit())).then_some(())
            });
            if pinned.is_none() {
                wrong.push(format!("{}: {action}", file.display()));
            }
        }
    }
    assert!(found > 0, "no action is used");
    report("not `NAME@COMMIT # vVERSION`", &wrong);
}

#[test]
fn the_map_names_every_room_and_every_test_it_names_exists() {
    let map = read(&root().join("ARCHITECTURE.md"));
    let mut wrong = Vec::new();
    let lines = map.lines().count();
    if lines > MAP_LINES {
        wrong.push(format!("{lines} lines, which is more than {MAP_LINES}"));
    }
    for room in rooms() {
        if !map
            .lines()
            .any(|line| line.starts_with(&format!("- `{room}`")))
        {
            wrong.push(format!("no line that begins with: - `{room}`"));
        }
    }
    let tests: String = sources(&root().join("src"))
        .chain(sources(&root().join("tests")))
        .chain(sources(&root().join("e2e")))
        .map(|file| read(&file))
        .collect();
    let mut invariants = 0;
    for line in map
        .lines()
        .filter(|line| line.starts_with("- **Invariant:**"))
    {
        invariants += 1;
        let test = line
            .rsplit_once("(held by `")
            .and_then(|(_, rest)| rest.strip_suffix("`)"));
        match test {
            Some(test) if tests.contains(&format!("fn {test}(")) => {}
            Some(test) => wrong.push(format!("there is no test `{test}`")),
            None => wrong.push(format!(
                "an invariant does not end in (held by `TEST`): {line}"
            )),
        }
    }
    if invariants == 0 {
        wrong.push("no line that begins with - **Invariant:**".to_owned());
    }
    report("ARCHITECTURE.md is not true to the house", &wrong);
}

/// What a fix is made of. None of it can be made of any text, so that a formatted string is never run.
const BUILT: &[&str] = &[
    "Argument", "Command", "Fix", "Input", "Manifest", "Patch", "Script", "Self", "Settings",
    "Step", "Word",
];

#[test]
fn no_formatted_string_becomes_a_command() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.room == "doctor") {
        let builds = file.name.starts_with("src/doctor/fix");
        for (line, path) in file.paths() {
            let last = path.last().map_or("", String::as_str);
            if last == "leak" || (last == "json!" && !builds) {
                wrong.push(format!(
                    "{}:{line}: `{last}`: a manifest is made in `doctor::fix` of names, a command of literals and names",
                    file.name
                ));
            }
        }
        if builds {
            let tokens = file.text.parse().expect("it was read before");
            texts_taken(tokens, &mut |name, line| {
                wrong.push(format!(
                    "{}:{line}: `{name}` makes what is run of any text; take a type that has parsed it",
                    file.name
                ));
            });
        }
    }
    report("ways from any text to a command", &wrong);
}

#[test]
fn a_function_that_takes_any_text_is_found() {
    let text = r"
        impl Word { fn then(self, more: &'static str) -> Self { f() } }
        impl Name { fn parse(text: &str) -> Option<Self> { f() } }
        fn end_of(text: &str) -> String { f() }
        impl From<String> for Word { fn from(text: String) -> Self { f() } }
        fn run(command: impl AsRef<str>) -> Result<Fix, E> { f() }
        fn list(words: &[&'a str]) -> Vec<Word> where A: B { f() }
        #[cfg(test)]
        mod tests { fn any(text: &str) -> Word { f() } }
    ";
    let mut found = Vec::new();
    let tokens = text.parse().expect("Rust");
    texts_taken(tokens, &mut |name, _| found.push(name.to_owned()));
    assert_eq!(found, ["from", "run", "list"]);
}

/// Tells each function, but those that parse, that takes any text and returns what a fix is made of.
fn texts_taken(tokens: TokenStream, tell: &mut impl FnMut(&str, usize)) {
    let tokens = without_tests(tokens);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Ident(ident) if ident == "fn" => {
                let is = |token: &TokenTree, delimiter| matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter);
                let rest = &tokens[at..];
                let body = rest.iter().position(|token| is(token, Delimiter::Brace));
                let head = &rest[..body.unwrap_or(rest.len())];
                let place = head
                    .iter()
                    .position(|token| is(token, Delimiter::Parenthesis));
                let Some((TokenTree::Group(taken), name)) =
                    place.and_then(|place| Some((head.get(place)?, head.first()?.to_string())))
                else {
                    continue;
                };
                let returned = head[place.unwrap_or_default() + 1..].iter();
                let builds = returned.map(ToString::to_string).any(|word| {
                    word.split(|c: char| !c.is_alphanumeric())
                        .any(|word| BUILT.contains(&word))
                });
                if name != "parse" && builds && takes_text(taken.stream()) {
                    tell(&name, ident.span().start().line);
                }
            }
            TokenTree::Group(group) => texts_taken(group.stream(), tell),
            _ => {}
        }
    }
}

/// Whether there is a `String` among these types, or a `str` that is not `'static`.
fn takes_text(tokens: TokenStream) -> bool {
    let mut lifetime = String::new();
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) if ident == "String" => true,
        TokenTree::Ident(ident) if ident == "str" => lifetime != "static",
        TokenTree::Ident(ident) => {
            lifetime = ident.to_string();
            false
        }
        TokenTree::Group(group) => takes_text(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

#[test]
fn paths_are_read_from_code_and_from_nothing_else() {
    let file = File {
        name: "src/probe/stimulus.rs".to_owned(),
        room: "probe".to_owned(),
        depth: 2,
        text: r#"
            //! A `crate::retry` in a comment is none.
            use crate::{judge, model::{self, run::Run}};
            fn f() -> &'static str { super::super::vault::g(); super::h(); "crate::wire" }
            macro_rules! m { () => { $crate::publish::p!() } }
            #[cfg(test)]
            mod tests { use crate::config; }
            #[cfg(test)]
            use crate::cli;
            fn last() { eprintln!("{}", std::time::Instant::now()) }
        "#
        .to_owned(),
    };
    let paths = file.paths();
    let used: Vec<_> = paths
        .iter()
        .filter_map(|(_, path)| file.room_used(path))
        .collect();
    assert_eq!(used, ["judge", "model", "model", "vault", "publish"]);
    let named = |wanted: &str| paths.iter().any(|(_, path)| names(path, wanted));
    assert!(named("eprintln!") && named("Instant::now") && named("std::time::Instant"));
    assert!(!named("println!") && !named("eprintln") && !named("std::Instant"));
}

/// A file of `src`.
struct File {
    /// Its path below the root.
    name: String,
    /// The top-level module that it belongs to.
    room: String,
    /// How many modules deep it is.
    depth: usize,
    text: String,
}

/// A path as it is written, with its groups unfolded: `use a::{b, c::d}` is `a::b` and `a::c::d`.
type Segments = Vec<String>;

impl File {
    /// Every path in the code, with its line; comments, literals and tests hold none.
    fn paths(&self) -> Vec<(usize, Segments)> {
        let tokens: TokenStream = self
            .text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let mut paths = Vec::new();
        unfold(tokens, &mut paths);
        paths
    }

    /// The room that a path leads to, if that is another one.
    fn room_used<'a>(&self, path: &'a [String]) -> Option<&'a str> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let at_root = match path.first()?.as_str() {
            "crate" | "vso_prober" => &path[1..],
            "super" if supers >= self.depth => &path[supers..],
            _ => return None,
        };
        let room = at_root.first()?.as_str();
        (room != self.room && room != "*").then_some(room)
    }
}

/// Collects the paths in `tokens`, and passes over what is there for tests only.
fn unfold(tokens: TokenStream, paths: &mut Vec<(usize, Segments)>) {
    let tokens = without_tests(tokens);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(_) => at += path(&tokens[at..], &[], paths),
            TokenTree::Group(group) => {
                unfold(group.stream(), paths);
                at += 1;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

/// Reads the path that `tokens` begin with, below `prefix`. Returns how many tokens it took.
fn path(tokens: &[TokenTree], prefix: &[String], paths: &mut Vec<(usize, Segments)>) -> usize {
    let is = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted);
    let mut path = prefix.to_vec();
    let line = tokens[0].span().start().line;
    let mut at = 0;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => path.push(ident.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                for branch in inner.split(
                    |token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ','),
                ) {
                    if !branch.is_empty() {
                        self::path(branch, &path, paths);
                    }
                }
                return at + 1;
            }
            // A glob, or the arguments of a generic.
            _ => break,
        }
        at += 1;
        if is(at, ':') && is(at + 1, ':') {
            at += 2;
        } else {
            break;
        }
    }
    if is(at, '!') && !is(at + 1, '=') {
        path.last_mut().into_iter().for_each(|last| last.push('!'));
    }
    paths.push((line, path));
    at.max(1)
}

/// Those of these tokens that are not in an item for tests only, which ends with a `;` or a body.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let for_tests = |token: &TokenTree| token.to_string().replace(' ', "") == "[cfg(test)]";
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        if hash && tokens.peek().is_some_and(for_tests) {
            tokens.by_ref().find(ends);
        } else {
            kept.push(token);
        }
    }
    kept
}

/// Whether `path` has the segments of `wanted`, one after the other.
fn names(path: &[String], wanted: &str) -> bool {
    let wanted: Vec<_> = wanted.split("::").collect();
    path.windows(wanted.len()).any(|part| part == wanted)
}

fn allowed(room: &str) -> &'static [&'static str] {
    ARROWS
        .iter()
        .find(|(listed, _)| *listed == room)
        .map_or(&[], |(_, uses)| uses)
}

/// The rooms: the top-level modules, and the binary.
fn rooms() -> BTreeSet<String> {
    let rooms = files().into_iter().map(|file| file.room);
    rooms.filter(|room| room != "lib").collect()
}

/// Every file of `src`.
fn files() -> Vec<File> {
    let src = root().join("src");
    let by_path: BTreeMap<PathBuf, File> = sources(&src)
        .map(|path| {
            let below = path.strip_prefix(&src).expect("it was found there");
            let module = below.with_extension("");
            let parts: Vec<_> = module.iter().map(|part| part.to_string_lossy()).collect();
            let file = File {
                name: format!("src/{}", below.display()),
                room: parts[0].to_string(),
                depth: parts.len(),
                text: read(&path),
            };
            (path, file)
        })
        .collect();
    by_path.into_values().collect()
}

/// Every Rust file below `folder`.
fn sources(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let mut folders = vec![folder.to_owned()];
    iter::from_fn(move || {
        let folder = folders.pop()?;
        let entries = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("tried to list {}: {error}", folder.display()));
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.expect("a folder can be read to its end").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
        Some(found)
    })
    .flatten()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("tried to read {}: {error}", file.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn report(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}
