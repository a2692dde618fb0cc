//! What the log is told of volumes in trouble: when it begins, and not at each try.

use std::{io::Write, sync::mpsc};

use super::*;

/// What `work` told the log, line by line.
fn told(work: impl FnOnce()) -> Vec<String> {
    let (sender, lines) = mpsc::channel();
    let log = tracing_subscriber::fmt()
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(move || Line(sender.clone()))
        .finish();
    tracing::subscriber::with_default(log, work);
    lines.try_iter().map(|line: String| line.trim().to_owned()).collect()
}

struct Line(mpsc::Sender<String>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[track_caller]
fn assert_told(told: &[String], expected: &[&str]) {
    let are_so = told.iter().zip(expected).all(|(line, expected)| line.contains(expected));
    assert!(are_so && told.len() == expected.len(), "{told:#?}");
}

const BAD: Range<u64> = 4096..8192;
const ALL: Range<u64> = 0..64 << 20;

/// Each of them is tried again each ten seconds, for as long as the node runs.
#[test]
fn of_many_journals_with_a_bad_place_one_is_told_and_the_others_are_counted() {
    let devices: Vec<_> = (0..8).map(|_| Device::default()).collect();
    let start = || {
        let Share { data_bytes, journal_bytes } = SHARES[0];
        let opening = Device::volumes_of(&devices, data_bytes, journal_bytes, pool());
        Started { volumes: future::block_on(opening).unwrap(), now: Instant::now() }
    };
    let mut first = start();
    (0..24).for_each(|object| assert!(first.put(object)));
    drop(first);
    devices.iter().for_each(|device| device.journals[0].bad(BAD));
    let lines = told(|| {
        let mut second = start();
        (0..30).for_each(|_| second.tick(Duration::from_secs(11)));
        assert_eq!(second.volumes.stats().volumes_off, 8);
    });
    let expected = [
        "pages of a journal are lost volume=0 unread_pages=1",
        "takes no more bytes; tried again each 10 s volume=0",
        "more journals of the cache lost pages further=7",
        "more volumes of the cache take no more bytes further=7",
    ];
    assert_told(&lines, &expected);
}

#[test]
fn a_journal_that_cannot_be_written_is_told_once_and_that_it_can_be_again() {
    let device = Device::default();
    let mut started = Started::over(&device);
    assert!(started.put(1));
    device.journals.iter().for_each(|journal| journal.bad(ALL));
    let objects = 10..40;
    let lines = told(|| {
        for object in objects.clone() {
            started.put(object);
            started.tick(Duration::from_secs(11));
        }
    });
    assert_told(&lines, &["takes no more bytes; tried again each 10 s volume=0"]);
    device.journals.iter().for_each(Sim::mend);
    let lines = told(|| (0..3).for_each(|_| started.tick(Duration::from_secs(11))));
    assert_told(&lines, &["a volume of the cache takes bytes again volume=0"]);
    assert!(started.put(50) && started.present(50) == 3 * CHUNK_BYTES);
}
