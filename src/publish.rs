//! Runs, told to people and to programs.

pub mod junit;
pub mod progress;
pub mod table;
