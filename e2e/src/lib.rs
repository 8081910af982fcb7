//! What vso-prober is tested with: a lab of real parts and a stand-in for the operator. A test double; it never ships.

pub mod lab;
pub mod standin;
