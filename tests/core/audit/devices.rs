//! Tests of two audit devices, each of which writes every request.

use jiff::SignedDuration;
use vso_prober::audit::entry::Entry;

use super::{context, files, findings};

/// As a second device writes it: a little later.
fn again(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    if let Entry::Vault(entry) = &mut entry {
        entry.time += SignedDuration::from_micros(700);
    }
    entry
}

#[test]
fn a_second_device_makes_nothing_more() {
    let context = context("books");
    for (beginning, expected) in [("negative", 0), ("positive", 1)] {
        for (name, entries) in files("books", beginning) {
            let once = findings(entries.iter().cloned(), &context);
            let both = entries
                .iter()
                .flat_map(|entry| [again(entry), entry.clone()]);
            let twice = findings(both, &context);
            assert_eq!(once.len(), expected, "{name}");
            assert_eq!(once, twice, "{name}");
        }
    }
}
