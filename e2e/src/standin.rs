//! A stand-in for Vault Secrets Operator. A test double: it keeps to what was observed of the real one and can be told to misbehave.
