//! Trials of the follower against a writer that counts its lines, and whoever rotates them away.

mod forwarding;
mod log;
mod storms;
mod whole;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use super::Gap;
use super::follower::Follower;
use crate::config::Begin;
use log::{Log, append};

#[test]
fn lines_that_come_while_the_old_file_is_written_on_are_read_in_order() {
    let mut log = Log::new();
    log.write(3);
    log.read_all();
    log.rename();
    log.read_all();
    log.write(2);
    File::create(log.path()).unwrap();
    log.write(2);
    log.read_all();
    assert_eq!(log.read.len(), 7);
    log.write(1);
    log.reopen();
    log.write(2);
    log.read_all();
    log.all_once();
}

#[test]
fn a_file_that_is_deleted_is_read_while_it_is_written() {
    let mut log = Log::new();
    log.write(1);
    log.read_all();
    fs::remove_file(log.path()).unwrap();
    log.write(3);
    log.read_all();
    assert_eq!(log.read.len(), 4);
    log.reopen();
    log.write(1);
    log.read_all();
    log.all_once();
}

#[test]
fn copytruncate_tells() {
    let mut log = Log::new();
    log.write(3);
    log.read_all();
    log.write(2);
    log.copy_truncate(1);
    log.read_all();
    log.write(2);
    log.read_all();
    assert_eq!(
        log.missing(),
        [5],
        "what was written between the copy and the cut"
    );
    assert_eq!(log.gaps, [Gap::Truncated]);
    // The same while nobody reads.
    log.kill(usize::MAX);
    log.write(2);
    log.copy_truncate(1);
    log.write(9);
    log.read_all();
    assert_eq!(log.missing(), [5, 10]);
    assert_eq!(log.gaps, [Gap::Truncated; 2]);
    assert!(log.read.is_sorted());
}

#[test]
fn a_file_that_was_cut_and_has_grown_beyond_is_told() {
    let mut log = Log::new();
    log.write(2);
    log.read_all();
    log.writer.set_len(0).unwrap();
    log.write(20);
    log.read_all();
    assert_eq!(
        (log.missing(), log.gaps.as_slice()),
        (vec![], [Gap::Truncated].as_slice())
    );
}

#[test]
fn gzip_between() {
    for zstd in [false, true] {
        let mut log = Log::new();
        log.write(3);
        log.read_all();
        log.kill(usize::MAX);
        log.write(3);
        log.rotate();
        log.write(3);
        log.rotate();
        for number in [1, 2] {
            if zstd {
                log.zstd(number);
            } else {
                log.gzip(number);
            }
        }
        log.write(1);
        log.step();
        log.read_all();
        log.all_once();
    }
}

#[test]
fn what_can_not_be_unpacked_is_told() {
    let mut log = Log::new();
    log.write(3);
    log.read_all();
    log.kill(usize::MAX);
    log.write(300);
    log.rotate();
    log.gzip(1);
    let packed = format!("{}.gz", log.rotated(1).display());
    let length = fs::metadata(&packed).unwrap().len();
    append(Path::new(&packed)).set_len(length - 20).unwrap();
    log.write(1);
    log.read_all();
    assert_eq!(log.gaps, [Gap::Vanished]);
    assert_eq!(log.read.last(), Some(&303));
}

#[test]
fn reused_inode() {
    let mut log = Log::new();
    log.write(5);
    log.read_all();
    log.kill(usize::MAX);
    // What has the same place and is longer is not the same file.
    let content = log.line().repeat(9);
    fs::write(log.path(), content).unwrap();
    log.read_all();
    assert_eq!(log.read[5..], [5; 9]);
    assert_eq!(log.gaps, [Gap::Truncated]);
}

#[test]
fn what_has_vanished_is_told() {
    let mut log = Log::new();
    log.write(5);
    log.read_all();
    log.kill(usize::MAX);
    log.write(2);
    log.rotate();
    log.write(2);
    log.rotate();
    fs::remove_file(log.rotated(2)).unwrap();
    log.write(1);
    log.read_all();
    assert_eq!(log.gaps, [Gap::Vanished]);
    assert_eq!(log.missing(), [5, 6]);
}

#[test]
fn a_file_that_was_cut_and_deleted_is_not_read_to_its_end() {
    let mut log = Log::new();
    log.write(2);
    log.read_all();
    assert!(log.whole);
    log.writer.set_len(0).unwrap();
    fs::remove_file(log.path()).unwrap();
    log.read_all();
    assert!(!log.whole, "that lines are missing is not told yet");
    log.reopen();
    log.write(1);
    log.read_all();
    assert_eq!(log.gaps, [Gap::Truncated]);
    assert!(log.whole);
    // The same of one that is gone when reading begins anew.
    log.kill(usize::MAX);
    fs::remove_file(log.path()).unwrap();
    File::create(log.path()).unwrap();
    log.read_all();
    assert!(!log.whole);
    log.reopen();
    log.write(1);
    log.read_all();
    assert_eq!(log.gaps, [Gap::Truncated, Gap::Vanished]);
    assert!(log.whole);
}

#[test]
fn torn_line() {
    let mut log = Log::new();
    log.write(1);
    log.write_torn();
    log.read_all();
    assert_eq!((log.read.as_slice(), log.torn), ([0, 1].as_slice(), 1));
    assert!(log.whole);
    // Half a line has no end yet, and is not handed on.
    let line = log.line();
    log.writer.write_all(&line.as_bytes()[..5]).unwrap();
    log.read_all();
    assert_eq!(log.read.len(), 2);
    assert!(!log.whole, "a line is under way");
    log.writer.write_all(&line.as_bytes()[5..]).unwrap();
    log.read_all();
    assert_eq!(log.read, [0, 1, 2]);
    assert!(log.whole);
}

#[test]
fn the_very_first_start_is_at_the_end() {
    let mut log = Log::new();
    log.write(3);
    log.writer.write_all(b"{\"n\":3,\"pa").unwrap();
    log.follower = Follower::new(&log.path(), None, Begin::End);
    log.read_all();
    assert_eq!(log.read.len(), 0);
    log.writer.write_all(b"d\":\"\"}\n").unwrap();
    log.read_all();
    assert_eq!(log.read, [3]);
    // Of a file that comes later, everything is new.
    let mut log = Log::new();
    log.write(1);
    log.rename();
    log.follower = Follower::new(&log.path(), None, Begin::End);
    log.read_all();
    assert!(log.follower.step().is_err(), "there is no such file");
    log.kill(usize::MAX);
    log.reopen();
    log.write(2);
    log.read_all();
    assert_eq!(log.read, [1, 2]);
}
