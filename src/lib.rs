//! vso-prober: a synthetic end-to-end prober for HashiCorp's Vault Secrets Operator.
pub mod canary;
pub mod config;
pub mod janitor;
pub mod judge;
pub mod kubernetes;
pub mod model;
pub mod observe;
pub mod operator;
pub mod probe;
pub mod retry;
pub mod shutdown;
pub mod telemetry;
pub mod vault;
pub mod wire;
