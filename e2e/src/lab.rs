//! The lab: a real control plane, Vault and PostgreSQL on loopback, for as long as a value lives.
