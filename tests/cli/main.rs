//! The command, as another program sees it: files in, files and a line of JSON out, exit codes, one line on stderr.
//!
//! The tests that need a GPU are ignored; `cargo test --features cli --test cli -- --ignored` runs them.

mod any_file;
mod arguments;
mod balance;
mod bench;
mod contrastive;
mod export;
mod files;
mod golden;
mod hierarchy;
mod linear;
mod machines;
mod names;
mod output;
mod refusals;
mod rows;
mod small;
mod support;
