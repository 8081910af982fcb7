//! What requests to Kubernetes and to Vault have in common: the user agent, and how an error reads.

/// What every request of the prober calls itself.
pub const USER_AGENT: &str = concat!("vso-prober/", env!("CARGO_PKG_VERSION"));

/// An error with its causes, each once: `a: b: c`.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
