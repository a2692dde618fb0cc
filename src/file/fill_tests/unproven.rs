//! Stories of songs without a strong validator: nothing proves that two answers are of one version.

use super::*;

/// Six mebibytes that take a moment, with such fields.
fn slow(fields: &str) -> Song {
    Song { fields: fields.to_owned(), pace_bytes: 16 * KIB, ..Song::new(6 * MIB) }
}

/// Tells a story of an origin that may change meanwhile, and says where its requests began.
fn told(song: Song, story: impl AsyncFn(World, Arc<State>) + Clone + Send + 'static) -> Vec<u64> {
    let origin = Slow::start(song);
    let state = Arc::clone(&origin.state);
    super::story(&origin, move |world| {
        let (story, state) = (story.clone(), Arc::clone(&state));
        async move { story(world, state).await }
    });
    origin.asked()
}

#[test]
fn short_parts_of_an_origin_that_proves_no_version_make_a_whole() {
    let modified = "Last-Modified: Sun, 06 Nov 1994 12:00:00 GMT\r\n";
    let weak = "ETag: W/\"1\"\r\n";
    for (fields, says_length) in [("", true), ("", false), (modified, true), (weak, false)] {
        let (is_dated, fields) = (fields == modified, fields.to_owned());
        let song = Song { fields, says_length, part_bytes: 150_000, ..Song::new(1_000_000) };
        let origin = Slow::start(song);
        let end = story(&origin, |world| async move {
            let mut reader = world.open().await.unwrap();
            let (end, failure) = follow(&mut reader, 0, 1).await;
            assert!(failure.is_none(), "{failure:?}");
            drop(reader);
            world.open().await.unwrap();
            end
        });
        assert_eq!(end, 1_000_000, "a false end");
        let asked = origin.asked();
        assert_eq!(asked[..7], [0, 150_000, 300_000, 450_000, 600_000, 750_000, 900_000]);
        let begun = asked.iter().filter(|start| **start == 0).count();
        // What was modified so long ago has a date that tells versions apart.
        assert_eq!(begun, if is_dated { 1 } else { 2 }, "could be of two versions: {asked:?}");
    }
}

#[test]
fn who_comes_while_short_parts_are_joined_gets_none_that_others_have_joined() {
    let fields = String::new();
    let song = Song { fields, ages: true, part_bytes: 150_000, ..Song::new(MIB) };
    let origin = Slow::start(song);
    story(&origin, |world| async move {
        let mut first = world.open().await.unwrap();
        read(&mut first, 0..100, 1).await.unwrap();
        // Of the second answer.
        timeout(PATIENCE, first.fetch(200_000..200_100)).await.unwrap().unwrap();
        let mut later = world.open().await.unwrap();
        timeout(PATIENCE, later.fetch(0..100)).await.unwrap().unwrap();
    });
    let asked = origin.asked();
    assert_eq!(asked.iter().filter(|start| **start == 0).count(), 2, "{asked:?}");
}

#[test]
fn who_waits_far_ahead_of_an_answer_that_is_cut_is_not_cut_with_it() {
    let song = Song { fields: String::new(), broken: 2 * MIB..3 * MIB, ..Song::new(8 * MIB) };
    told(song, async |world, state| {
        let mut reader = world.open().await.unwrap();
        state.held.store(true, Ordering::SeqCst);
        let far = read(&mut reader, 6 * MIB..6 * MIB + 100, 1);
        let free = async {
            sleep(Duration::from_millis(50)).await;
            state.held.store(false, Ordering::SeqCst);
        };
        assert!(futures_lite::future::zip(far, free).await.0.is_ok());
    });
}

#[test]
fn an_origin_without_parts_is_asked_once_though_it_proves_no_version() {
    let song = Song { ranges: false, ..slow("") };
    let asked = told(song, async |world, _| {
        let mut first = world.open().await.unwrap();
        read(&mut first, 0..100, 1).await.unwrap();
        let mut far = world.open_at(4 * MIB).await.unwrap();
        read(&mut far, 4 * MIB..4 * MIB + 100, 1).await.unwrap();
    });
    assert_eq!(asked, [0]);
}

#[test]
fn of_a_song_that_nothing_proves_the_same_no_two_answers_are_joined() {
    for fields in ["", "ETag: W/\"same\"\r\n"] {
        let asked = told(slow(fields), async |world, state| {
            let mut first = world.open().await.unwrap();
            read(&mut first, 0..100, 1).await.unwrap();
            state.change(|song| song.version = 2);
            let mut far = world.open().await.unwrap();
            // Checks that it is of the first version.
            let jump = read(&mut far, 4 * MIB..4 * MIB + 100, 1);
            let (jumped, (end, failure)) =
                futures_lite::future::zip(jump, follow(&mut first, 0, 1)).await;
            assert!(jumped.is_ok() && failure.is_none() && end == 6 * MIB, "{failure:?}");
            drop((first, far));
            // One answer, whole, is kept.
            let mut later = world.open().await.unwrap();
            read(&mut later, 0..100, 1).await.unwrap();
        });
        assert_eq!(asked, [0]);
    }
}

#[test]
fn what_lies_before_an_answer_that_proves_no_version_is_of_another_generation() {
    let song = slow("");
    let asked = told(song, async |world, state| {
        let mut far = world.open_at(4 * MIB).await.unwrap();
        read(&mut far, 4 * MIB..4 * MIB + 100, 1).await.unwrap();
        state.change(|song| song.version = 2);
        let mut first = world.open().await.unwrap();
        let (end, failure) = follow(&mut first, 0, 2).await;
        assert!(failure.is_none() && end == 6 * MIB, "{failure:?}");
        let (end, failure) = follow(&mut far, 4 * MIB, 1).await;
        assert!(failure.is_none() && end == 6 * MIB, "{failure:?}");
    });
    assert_eq!(asked, [4 * MIB, 0]);
}

#[test]
fn who_wants_what_is_far_ahead_of_an_answer_that_proves_no_version_leaves_it_to_the_others() {
    let song = slow("");
    let asked = told(song, async |world, state| {
        let mut first = world.open().await.unwrap();
        read(&mut first, 0..100, 1).await.unwrap();
        state.change(|song| song.version = 2);
        let mut far = world.open_at(4 * MIB).await.unwrap();
        read(&mut far, 4 * MIB..4 * MIB + 100, 2).await.unwrap();
        let (end, failure) = follow(&mut first, 0, 1).await;
        assert!(failure.is_none() && end == 6 * MIB, "{failure:?}");
        drop((first, far));
        let mut later = world.open().await.unwrap();
        read(&mut later, 0..100, 1).await.unwrap();
    });
    assert_eq!(asked, [0, 4 * MIB], "the first answer is kept");
}

#[test]
fn who_joins_a_question_about_another_place_is_not_given_its_answer() {
    let song = Song { fields: String::new(), ages: true, ..Song::new(6 * MIB) };
    let asked = told(song, async |world, _| {
        let opening = futures_lite::future::zip(world.open_at(4 * MIB), world.open());
        let (far, near) = opening.await;
        let (mut far, mut near) = (far.unwrap(), near.unwrap());
        let (end, failure) = follow(&mut near, 0, 2).await;
        assert!(failure.is_none() && end == 6 * MIB, "{failure:?}");
        let (end, failure) = follow(&mut far, 4 * MIB, 1).await;
        assert!(failure.is_none() && end == 6 * MIB, "{failure:?}");
    });
    assert_eq!(asked, [4 * MIB, 0]);
}

/// What no disk takes has a mebibyte of memory, and a reader that is slower than its origin gets it all.
#[test]
fn a_slow_reader_of_what_is_in_memory_alone_gets_all_though_nothing_proves_its_version() {
    let origin = Slow::start(Song { fields: String::new(), ..Song::new(4 * MIB) });
    let (address, state) = (origin.address, Arc::clone(&origin.state));
    story(&origin, move |_| {
        let state = Arc::clone(&state);
        async move {
            let pool = BufPool::new(bufpool::Options { budget_bytes: 64 << 20 });
            let world = World::over(address, Volumes::off(4, 1, pool.clone()), pool);
            let mut reader = world.open().await.unwrap();
            read(&mut reader, 0..9, 1).await.unwrap();
            settle(&state, |bodies| bodies == 0).await;
            let mut other = world.open().await.unwrap();
            for reader in [&mut reader, &mut other] {
                let (end, failure) = follow(reader, 0, 1).await;
                assert!(failure.is_none() && end == 4 * MIB, "{failure:?} at {end}");
            }
        }
    });
}

#[test]
fn parts_of_two_versions_are_not_made_a_whole() {
    const NOON: &str = "Last-Modified: Sun, 06 Nov 1994 12:00:00 GMT\r\n";
    type Change = fn(&mut Song);
    let changes: [(&str, &str, Change); 3] = [
        ("another length", NOON, |song| song.length += 1),
        ("another tag", "ETag: W/\"1\"\r\n", |song| song.fields = "ETag: W/\"2\"\r\n".to_owned()),
        ("another time", NOON, |song| song.fields = NOON.replace("12:", "13:")),
    ];
    for (what, fields, change) in changes {
        let fields = fields.to_owned();
        let origin = Slow::start(Song { fields, part_bytes: 150_000, ..Song::new(1_000_000) });
        let state = Arc::clone(&origin.state);
        story(&origin, move |world| {
            let state = Arc::clone(&state);
            async move {
                let mut reader = world.open().await.unwrap();
                read(&mut reader, 0..100, 1).await.unwrap();
                state.change(|song| {
                    song.version = 2;
                    change(song);
                });
                let (at, failure) = follow(&mut reader, 0, 1).await;
                assert!(failure.is_some() && at < 1_000_000, "{what}: joined up to {at}");
                // Who comes now gets the new one.
                let (end, failure) = follow(&mut world.open().await.unwrap(), 0, 2).await;
                assert!(failure.is_none() && end >= 1_000_000, "{what}: {end} {failure:?}");
            }
        });
    }
}
