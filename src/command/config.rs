//! The commands `config check`, `config schema` and `config example`.

use std::io::{self, Write};

use crate::config::check::EXAMPLE;
use crate::config::{Config, raw};

/// Says that the configuration of the file that is called `file` is good, and what it holds.
pub(super) fn good(out: &mut impl Write, config: &Config, file: &str) -> io::Result<()> {
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
    Ok(())
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
    use crate::config::check;

    #[test]
    fn the_example_checks_out() {
        let mut example_text = Vec::new();
        example(&mut example_text).expect("a Vec takes everything");
        let text = String::from_utf8(example_text).expect("the example is UTF-8");
        let mut out = Vec::new();
        let config = check::load(&text, "example.yaml", |_| None).expect("it can be used");
        good(&mut out, &config, "example.yaml").expect("a Vec takes everything");
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
