//! The queue, the file and its replacement.

use std::fs;

use super::*;

#[derive(Debug)]
struct Number(u64);

impl Line for Number {
    fn append(&self, _: Format, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.to_string().as_bytes());
    }
}

fn record(number: u64) -> Number {
    Number(number)
}

fn config(file: PathBuf) -> Config {
    Config { file: Some(file), ..Config::default() }
}

fn numbers(path: &std::path::Path) -> Vec<u64> {
    fs::read_to_string(path).expect("a file").lines().map(|line| line.parse().expect("a number")).collect()
}

fn until(what: impl Fn() -> bool) {
    for _ in 0..500 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not happen");
}

#[test]
fn every_line_is_there_after_the_last_handle_has_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let log = AccessLog::open(&config(path.clone())).expect("opened");
    let other = log.clone();
    for number in 0..5_000 {
        (if number % 2 == 0 { &log } else { &other }).write(record(number));
    }
    drop((log, other));
    assert_eq!(numbers(&path), (0..5_000).collect::<Vec<_>>());
}

#[test]
fn a_line_is_written_without_anybody_asking() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let log = AccessLog::open(&config(path.clone())).expect("opened");
    log.write(record(7));
    until(|| fs::metadata(&path).is_ok_and(|file| file.len() > 0));
    assert_eq!(numbers(&path), [7]);
}

#[test]
fn a_rotated_file_is_left_and_a_new_one_begun() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, rotated) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let log = AccessLog::open(&config(path.clone())).expect("opened");
    log.write(record(1));
    until(|| fs::metadata(&path).is_ok_and(|file| file.len() > 0));
    fs::rename(&path, &rotated).expect("renamed");
    log.change_to(AccessLog::prepare(&config(path.clone())).expect("reopened"));
    log.write(record(2));
    let nowhere = config(dir.path().join("no").join("access.log"));
    let error = AccessLog::prepare(&nowhere).expect_err("there is no such directory");
    assert!(error.to_string().contains("access.log: "), "{error}");
    log.write(record(3));
    log.close();
    assert_eq!((numbers(&rotated), numbers(&path)), (vec![1], vec![2, 3]));
    log.write(record(4));
    assert_eq!(log.dropped(), 1);
}

#[test]
fn a_log_that_is_off_writes_nothing_until_it_is_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("access.log");
    let log = AccessLog::open(&Config { enabled: false, ..config(path.clone()) }).expect("opened");
    log.write(record(1));
    assert!(!path.exists());
    log.change_to(AccessLog::prepare(&config(path.clone())).expect("reopened"));
    log.write(record(2));
    log.close();
    assert_eq!((numbers(&path), log.dropped()), (vec![2], 0));
}

#[test]
fn a_target_that_takes_nothing_costs_lines_and_no_time() {
    let log = AccessLog::open(&config("/dev/full".into())).expect("opened");
    for number in 0..3 * QUEUE_MAX as u64 {
        log.write(record(number));
    }
    log.close();
    assert_eq!(log.dropped(), 3 * QUEUE_MAX as u64);
}
