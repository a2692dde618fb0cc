//! A scan beside what is hot: it takes no more than the room of who is on trial, whatever it is that the
//! store has no more of.

use super::*;

/// Objects that are asked for again and again.
const HOT: u32 = 40;
/// Objects that are asked for once, for each that is hot.
const COLD: u32 = 3;

/// A store, and the time as it passes there.
struct Scan {
    store: AssetStore,
    now: Instant,
    /// The next cold object.
    cold: u32,
}

impl Scan {
    fn of(volumes: Volumes) -> Self {
        let store = AssetStore::new(Options::default(), volumes);
        Self { store, now: Instant::now(), cold: HOT }
    }

    /// Whether it was there; now it is.
    fn ask(&mut self, number: u32) -> bool {
        let hits = self.store.stats().hits + self.store.stats().partial_hits;
        let (lease, _permit) = open(&self.store, &key(number));
        self.now += Duration::from_secs(1);
        block_on(self.store.volumes().tick(self.now, Duration::from_secs(5)));
        assert!(lease.resource.stored_bytes() > 0, "object {number} is not kept");
        self.store.stats().hits + self.store.stats().partial_hits > hits
    }

    /// Asks for each hot object so many times, with cold ones between them: how often it was there.
    fn hits(&mut self, rounds: u32) -> u32 {
        let mut hits = 0;
        for number in (0..rounds).flat_map(|_| 0..HOT) {
            hits += u32::from(self.ask(number));
            for _ in 0..COLD {
                self.cold += 1;
                assert!(!self.ask(self.cold));
            }
        }
        hits
    }

    /// What is hot has proven itself after a while, and is there ever after.
    fn keeps_what_is_hot(&mut self) {
        self.hits(4);
        let before = self.store.stats().evicted;
        assert_eq!(self.hits(5), 5 * HOT);
        let evicted = self.store.stats().evicted - before;
        assert!(evicted > u64::from(5 * HOT), "{evicted} had to go");
    }
}

/// Its volume may hold far more than the disk does, and then the disk does again.
#[test]
fn on_a_full_disk_it_leaves_what_is_hot() {
    let device = Device::default();
    let mut scan = Scan::of(block_on(device.volumes(1 << 30, 4 << 20, pool())).unwrap());
    assert_eq!(scan.hits(1), 0);
    device.data.set_full(true);
    scan.keeps_what_is_hot();
    device.data.set_full(false);
    let evicted = scan.store.stats().evicted;
    // It is tried again each 10 s.
    scan.now += Duration::from_secs(30);
    assert_eq!(scan.hits(2), 2 * HOT);
    assert!(scan.store.stats().evicted < evicted + 20, "there is room again");
    device.data.set_full(true);
    scan.hits(2);
    scan.keeps_what_is_hot();
}

#[test]
fn with_little_memory_it_leaves_what_is_hot() {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 512 << 10 });
    let volumes = Volumes::on(vec![Disk::Sim(Sim::default())], 1 << 30, pool);
    let mut scan = Scan::of(volumes);
    (0..2_500).for_each(|_| {
        scan.cold += 1;
        scan.ask(scan.cold);
    });
    (0..3).for_each(|_| scan.keeps_what_is_hot());
    assert!(scan.store.stats().evicted_for_memory > 0);
}

#[test]
fn with_a_small_journal_it_leaves_what_is_hot() {
    let volumes = block_on(Device::default().volumes(1 << 30, 32 << 10, pool())).unwrap();
    let mut scan = Scan::of(volumes);
    scan.keeps_what_is_hot();
    assert!(scan.store.stats().evicted_for_journal > 0);
}

/// The journal has become smaller, and its data holds far more.
#[test]
fn a_start_that_has_less_place_leaves_what_is_hot() {
    let device = Device::default();
    let volumes = |journal_bytes| block_on(device.volumes(1 << 30, journal_bytes, pool())).unwrap();
    let mut scan = Scan::of(volumes(64 << 10));
    scan.keeps_what_is_hot();
    scan.store.remember_all();
    block_on(scan.store.volumes().close(scan.now)).unwrap();
    drop(scan);
    let mut again = Scan::of(volumes(20 << 10));
    assert!(again.store.stats().evicted > 100);
    assert_eq!((0..HOT).filter(|number| again.ask(*number)).count(), HOT as usize);
}
