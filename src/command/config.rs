//! The commands `config check`, `config schema` and `config example`.

use std::io::{self, Write};

use crate::config::check::{self, EXAMPLE};
use crate::config::problem::Problems;
use crate::config::{Config, raw};

/// Checks the configuration `text` of the file that is called `file`, and says what it holds.
///
/// What is wrong with it comes back, to be printed where errors are.
pub(super) fn check(
    out: &mut impl Write,
    text: &str,
    file: &str,
    env: impl Fn(&str) -> Option<String>,
) -> io::Result<Result<Config, Problems>> {
    let checked = check::load(text, file, env);
    if let Ok(config) = &checked {
        let count = config.probes.len();
        let noun = if count == 1 { "probe" } else { "probes" };
        writeln!(out, "{file}: good, {count} {noun}")?;
        for probe in &config.probes {
            let steps: Vec<&str> = probe.steps.keys().map(|step| step.as_str()).collect();
            writeln!(
                out,
                "  {} ({}): {}",
                probe.name,
                probe.target.kind(),
                steps.join(", ")
            )?;
        }
    }
    Ok(checked)
}

/// Prints the JSON Schema.
pub(super) fn schema(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", raw::schema())
}

/// Prints a commented example.
pub(super) fn example(out: &mut impl Write) -> io::Result<()> {
    out.write_all(EXAMPLE.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_checks_out() {
        let mut example_text = Vec::new();
        example(&mut example_text).expect("a Vec takes everything");
        let text = String::from_utf8(example_text).expect("the example is UTF-8");
        let mut out = Vec::new();
        let checked = check(&mut out, &text, "example.yaml", |_| None);
        assert!(checked.expect("a Vec takes everything").is_ok());
        insta::assert_snapshot!(String::from_utf8_lossy(&out), @r"
        example.yaml: good, 3 probes
          static-kv2 (static): create, update, tamper, recreate, delete
          postgres (dynamic): create, delete
          pki (pki): create, delete
        ");
    }

    #[test]
    fn the_schema_is_json() {
        let mut out = Vec::new();
        schema(&mut out).expect("a Vec takes everything");
        assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
    }
}
