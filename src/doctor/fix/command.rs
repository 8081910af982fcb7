//! Commands as argument vectors, and the one place that renders them for a shell.

use std::fmt::Write as _;

use super::manifest::Manifest;
use super::word::{File, Plain, Variable, Word};
use crate::config::Config;
use crate::rights::{Path, document, policy};

/// What a here-document ends with, where its text has no such line.
const END: &str = "EOF";

/// A program with its arguments, and those that its output goes to.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::doctor) struct Command {
    /// At least one.
    programs: Vec<Vec<Argument>>,
    file: Option<File>,
}

#[derive(Clone, Debug, PartialEq)]
enum Argument {
    Word(Word),
    /// A word that ends with what a variable holds.
    Variable(Word, Variable),
}

impl Command {
    /// A program and its first arguments, with blanks between them.
    pub(in crate::doctor) fn new(words: &'static str) -> Self {
        Self {
            programs: vec![literals(words)],
            file: None,
        }
    }

    /// A command of Vault's for the configured namespace of Vault; `None` if that can't enter a command.
    pub(in crate::doctor) fn vault(config: &Config, words: &'static str) -> Option<Self> {
        let command = Self::new("vault").args(words);
        let Some(namespace) = &config.vault.namespace else {
            return Some(command);
        };
        Some(command.arg(Word::pair("-namespace", &Plain::parse(namespace)?)))
    }

    /// With this argument at its end.
    pub(in crate::doctor) fn arg(self, word: impl Into<Word>) -> Self {
        self.with([Argument::Word(word.into())])
    }

    /// With these arguments, which have blanks between them.
    pub(in crate::doctor) fn args(self, words: &'static str) -> Self {
        self.with(literals(words))
    }

    /// With an argument that ends with what `variable` holds when it is run.
    pub(in crate::doctor) fn holding(self, word: impl Into<Word>, variable: &Variable) -> Self {
        self.with([Argument::Variable(word.into(), variable.clone())])
    }

    /// Its output goes to another program, whose arguments are added from now on.
    pub(in crate::doctor) fn pipe(mut self, words: &'static str) -> Self {
        self.programs.push(literals(words));
        self
    }

    /// Its output goes into a file.
    pub(in crate::doctor) fn into_file(self, file: &File) -> Self {
        Self {
            file: Some(file.clone()),
            ..self
        }
    }

    fn with(mut self, arguments: impl IntoIterator<Item = Argument>) -> Self {
        if let Some(last) = self.programs.last_mut() {
            last.extend(arguments);
        }
        self
    }

    /// The command on one line.
    fn line(&self) -> String {
        let argument = |argument: &Argument| match argument {
            Argument::Word(word) => word.quoted(),
            Argument::Variable(word, variable) => {
                format!("{}\"${}\"", word.quoted(), variable.as_str())
            }
        };
        let program = |words: &Vec<_>| words.iter().map(argument).collect::<Vec<_>>().join(" ");
        let mut line = self
            .programs
            .iter()
            .map(program)
            .collect::<Vec<_>>()
            .join(" | ");
        if let Some(file) = &self.file {
            let _ = write!(line, " > {}", Word::from(file).quoted());
        }
        line
    }
}

fn literals(words: &'static str) -> Vec<Argument> {
    let words = words.split_whitespace();
    words.map(|word| Argument::Word(word.into())).collect()
}

/// A text that a command is given.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::doctor) struct Input(String);

impl Input {
    /// The program's own text.
    pub(in crate::doctor) fn literal(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// Manifests, as YAML.
    pub(in crate::doctor) fn manifests(manifests: &[Manifest]) -> Self {
        let documents: Vec<_> = manifests.iter().map(|one| document(one.value())).collect();
        Self(documents.join("---\n"))
    }

    /// A policy of Vault's; `None` if a path has characters that the policy's language could take for its own.
    pub(in crate::doctor) fn policy(paths: &[Path]) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@+*".contains(&byte);
        let plain = paths.iter().all(|path| {
            let values = path.parameters.iter().flat_map(|(_, values)| values);
            let mut texts = values.chain([&path.path]);
            texts.all(|text| text.bytes().all(fits))
        });
        plain.then(|| Self(policy(paths)))
    }
}

/// Commands for a shell, one after the other. It is made of argument vectors alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Remark(&'static str),
    Run(Command),
    Give(Command, Input),
    Capture(&'static str, Variable, Command),
    Unless(Command, Script),
}

impl Script {
    /// A remark on what follows.
    pub(in crate::doctor) fn remark(self, remark: &'static str) -> Self {
        self.with(Step::Remark(remark))
    }

    /// Runs a command.
    pub(in crate::doctor) fn run(self, command: Command) -> Self {
        self.with(Step::Run(command))
    }

    /// Runs a command that is given a text.
    pub(in crate::doctor) fn give(self, command: Command, input: Input) -> Self {
        self.with(Step::Give(command, input))
    }

    /// Keeps a command's output in a variable.
    pub(in crate::doctor) fn capture(self, variable: &Variable, command: Command) -> Self {
        self.with(Step::Capture("", variable.clone(), command))
    }

    /// Keeps a command's output in a variable of the environment.
    pub(in crate::doctor) fn export(self, variable: &Variable, command: Command) -> Self {
        self.with(Step::Capture("export ", variable.clone(), command))
    }

    /// Runs `script` where `test` fails.
    pub(in crate::doctor) fn unless(self, test: Command, script: Self) -> Self {
        self.with(Step::Unless(test, script))
    }

    /// The one script after the other.
    pub(in crate::doctor) fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    fn with(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// The script as a shell takes it, without a newline at its end.
    pub(super) fn render(&self) -> String {
        let steps: Vec<_> = self.0.iter().map(Step::render).collect();
        steps.join("\n")
    }
}

impl Step {
    fn render(&self) -> String {
        match self {
            Self::Remark(remark) => format!("# {remark}"),
            Self::Run(command) => command.line(),
            Self::Give(command, Input(text)) => {
                let text = text.trim_end();
                let end = end_of(text);
                format!("{} <<'{end}'\n{text}\n{end}", command.line())
            }
            Self::Capture(how, variable, command) => {
                format!("{how}{}=\"$({})\"", variable.as_str(), command.line())
            }
            Self::Unless(test, Script(steps)) => {
                let steps: Vec<_> = steps
                    .iter()
                    .map(|step| format!("  {}\n", step.render()))
                    .collect();
                format!("{} || {{\n{}}}", test.line(), steps.concat())
            }
        }
    }
}

/// What ends a here-document of this text: no line of it is the same.
fn end_of(text: &str) -> String {
    let mut end = END.to_owned();
    while text.lines().any(|line| line == end) {
        end.push('_');
    }
    end
}

#[cfg(test)]
mod tests {
    use std::process;

    use proptest::prelude::*;

    use super::*;

    fn sh(script: &str) -> String {
        let output = process::Command::new("sh").args(["-c", script]).output();
        let output = output.expect("there is a shell");
        assert!(output.status.success(), "{script}\n{output:?}");
        String::from_utf8(output.stdout).expect("what went in")
    }

    #[test]
    fn a_script_does_what_its_vectors_say() {
        let variable = Variable::parse("one").expect("a name");
        let name = Plain::parse("a|b:c").expect("a value");
        let script = Script::default()
            .remark("of no consequence")
            .capture(&variable, Command::new("printf %s").arg(&name))
            .run(
                Command::new("printf <%s>")
                    .holding("x=", &variable)
                    .pipe("tr a A"),
            )
            .unless(
                Command::new("true"),
                Script::default().run(Command::new("echo never")),
            )
            .unless(
                Command::new("false"),
                Script::default().run(Command::new("echo then")),
            )
            .export(&variable, Command::new("echo y"))
            .run(Command::new("sh -c").arg("printf %s \"$one\""));
        let text = script.render();
        assert_eq!(sh(&text), "<x=A|b:c>then\ny", "{text}");
    }

    proptest! {
        #[test]
        fn whatever_is_given_arrives(text in "([a-z$`'\\\\]{0,4}|EOF|EOF_|\n){0,12}") {
            let script = Script::default().give(Command::new("cat"), Input(text.clone()));
            prop_assert_eq!(sh(&script.render()), format!("{}\n", text.trim_end()));
        }
    }
}
