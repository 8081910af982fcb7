//! vso-prober: a synthetic end-to-end prober for HashiCorp's Vault Secrets Operator.
pub mod operator;
