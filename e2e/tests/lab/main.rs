//! Tests of the lab that the trials run in.

mod life;
mod setup;
