//! vso-prober: a synthetic end-to-end prober for HashiCorp's Vault Secrets Operator.
//!
//! ```text
//! config ─► canary ─► probe: stimulus ─► watch ─► proof ─► cleanup ─► Record ─► judge ─► Run ─► publish
//!
//! main → cli → command → { config, probe, publish, janitor }
//! probe → { canary, observe, scrape, vault, kubernetes, janitor } → model
//! command → judge → model        publish → model        canary → { config, operator } → model
//! ```
//!
//! `model`, `judge`, `canary`, `config`, `operator`, `exposition`, `schedule` and `rights` are pure: no clock, no I/O,
//! no chance of their own.

pub mod canary;
pub mod cli;
pub mod command;
pub mod config;
pub mod doctor;
pub mod exposition;
pub mod health;
pub mod http;
pub mod janitor;
pub mod judge;
pub mod kubernetes;
pub mod leader;
pub mod model;
pub mod observe;
pub mod operator;
pub mod panic;
pub mod postgres;
pub mod probe;
pub mod publish;
pub mod push;
pub mod retry;
pub mod rights;
pub mod schedule;
pub mod scrape;
pub mod shutdown;
pub mod telemetry;
pub mod vault;
pub mod wire;
