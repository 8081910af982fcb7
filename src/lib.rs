//! vso-prober: a synthetic end-to-end prober for HashiCorp's Vault Secrets Operator.
pub mod judge;
pub mod model;
pub mod operator;
