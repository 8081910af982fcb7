//! A synthetic end-to-end prober for HashiCorp's Vault Secrets Operator.
//!
//! ARCHITECTURE.md is the map: the rooms, what each may use, and where to start reading.

pub mod audit;
pub mod canary;
pub mod cli;
pub mod command;
pub mod config;
pub mod doctor;
pub mod exposition;
pub mod health;
pub mod history;
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
pub mod round;
pub mod schedule;
pub mod scrape;
pub mod serve;
pub mod server;
pub mod shutdown;
pub mod tail;
pub mod telemetry;
pub mod vault;
pub mod wire;
