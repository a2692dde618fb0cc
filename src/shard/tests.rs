//! Two shards, one of which has a client: what crosses between them, and what it costs.

use std::{fs, path::PathBuf, pin::Pin, time::Duration};

use super::{desk::credits, outlet::Credits, *};
use crate::{
    assets::{self, AssetStore, Key},
    bufpool::{self, Class},
    decode::{self, Dither},
    demo,
    file::{Found, How, Library, conditional::Conditions},
    hls::{self, playlist},
    net::{self, Client, Resolver},
    pcm::{self as audio, Ask, Format, SourceName},
    runtime::{self, Queue, mailbox::Mesh},
    storage::Volumes,
};

const ROUTE: Route = Route { volumes: 4, shards: 2 };

type Life = Pin<Box<dyn Future<Output = ()>>>;

/// Runs two shards over one library. `client` lives on the first, `owner` says how the second
/// attends to its mail.
fn two_shards(
    dir: &tempfile::TempDir,
    client: fn(Rc<Shard>) -> Life,
    owner: fn(Rc<Shard>) -> Life,
) {
    let options = runtime::Options { shards: 2, blocking_threads: 1, oversubscribe: true };
    let (mesh, roots) = (Mesh::new(2, MAILBOX), net::Roots::load());
    let dir = dir.path().to_owned();
    runtime::run(options, move |id| {
        let (mesh, roots, dir) = (mesh.clone(), roots.clone(), dir.clone());
        async move {
            let shard = shard(mesh.join(id).await, &roots, dir);
            match id {
                ShardId(0) => {
                    let _mail = runtime::spawn(Queue::Io, "mail", Rc::clone(&shard).attend());
                    client(Rc::clone(&shard)).await;
                    shard.farewell(Duration::from_secs(10)).await;
                }
                _ => {
                    let _mail = runtime::spawn(Queue::Io, "mail", owner(Rc::clone(&shard)));
                    shard.farewell(Duration::from_secs(60)).await;
                }
            }
            assert_eq!(shard.gate.inside(), 0, "a session outlived its shard");
        }
    })
    .unwrap();
}

fn shard(mailbox: Mailbox<Mail>, roots: &net::Roots, dir: PathBuf) -> Rc<Shard> {
    let pool = BufPool::new(bufpool::Options { budget_bytes: 128 << 20 });
    let store = AssetStore::new(assets::Options::default(), Volumes::off(4, 2, pool.clone()));
    let client = Client::new(net::Options::default(), roots, Resolver::system());
    let library = Library { name: "local".to_owned(), dir };
    let files = Files::new(Rc::new(store), client, Vec::new(), vec![library]);
    let stacks = Stacks::new(decode::DecoderOptions::default());
    // What a decode takes is another machine's, and another build's: no story here hangs on it.
    let (read_ahead_bytes, scan_wait, scan_bytes) = (1 << 20, Duration::from_secs(1), 1 << 20);
    let decode_share = f64::INFINITY;
    let playlists = playlist::Limits::default();
    let (parts, reach) = (hls::PartLimits::default(), hls::Reach { time: scan_wait, bytes: 0 });
    let options =
        Options { read_ahead_bytes, scan_wait, scan_bytes, decode_share, playlists, parts, reach };
    Shard::new(ROUTE, pool, files, stacks, options, mailbox, None)
}

fn attends(shard: Rc<Shard>) -> Life {
    Box::pin(shard.attend())
}

/// A library with the same file twice: once for each shard to own.
fn library(bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for owner in [ShardId(0), ShardId(1)] {
        fs::write(dir.path().join(owned_by(owner).path), bytes).unwrap();
    }
    dir
}

fn owned_by(owner: ShardId) -> SourceName {
    let mut names = (0..).map(|number| format!("song{number}"));
    let path = names.find(|name| ROUTE.owner(&Key::of_library("local", name)) == owner);
    SourceName { name: "local".to_owned(), path: path.unwrap(), is_file: true }
}

fn demo(ending: &str) -> &'static [u8] {
    demo::FILES.iter().find(|file| file.name.ends_with(ending)).unwrap().bytes
}

fn object(source: SourceName) -> Job {
    Job::Object { source, wanted: Wanted::default() }
}

fn pcm(source: SourceName) -> Job {
    pcm_if(source, Conditions::default(), false)
}

fn pcm_if(source: SourceName, conditions: Conditions, head_only: bool) -> Job {
    let (dither, quality) = Default::default();
    let (rate_hz, channels, start, duration, choice) = Default::default();
    let format = Format::F32le;
    let ask = Ask { source, format, rate_hz, channels, dither, quality, start, duration, choice };
    let (range, if_range) = Default::default();
    Job::Pcm(PcmWanted { ask, range, if_range, conditions, head_only, front_last: false })
}

/// Waits until something is so; for ever is a hung test, which its runner ends.
async fn until(shard: &Rc<Shard>, is_so: impl Fn(&[Report]) -> bool) -> Vec<Report> {
    loop {
        let reports: Vec<_> = shard.survey().await.into_iter().flatten().collect();
        if reports.len() == 2 && is_so(&reports) {
            return reports;
        }
        runtime::sleep(Duration::from_millis(2)).await;
    }
}

/// Enough time for whatever wants to move.
async fn a_while() {
    runtime::sleep(Duration::from_millis(100)).await;
}

async fn body_bytes(response: &mut Response) -> (u64, Option<Result<(), Abort>>) {
    let mut bytes = 0;
    loop {
        match response.body.recv().await {
            Some(Ok(Some(sent))) => bytes += sent.len() as u64,
            Some(Ok(None)) => return (bytes, Some(Ok(()))),
            Some(Err(abort)) => return (bytes, Some(Err(abort))),
            None => return (bytes, None),
        }
    }
}

#[test]
fn a_client_that_reads_nothing_costs_exactly_its_credits() {
    two_shards(
        &library(&vec![7; 1 << 20]),
        |shard| {
            Box::pin(async move {
                for owner in [0, 1] {
                    let job = object(owned_by(ShardId(owner)));
                    let held = credits(&job) * Class::Large.bytes();
                    let response = shard.request(job).await.unwrap();
                    let used = |all: &[Report]| all[usize::from(owner)].memory.used_bytes;
                    until(&shard, |all| used(all) == held).await;
                    a_while().await;
                    until(&shard, |all| used(all) == held).await;
                    drop(response);
                    until(&shard, |all| used(all) == 0 && all[1].sessions_now == 0).await;
                }
            })
        },
        attends,
    );
}

#[test]
fn a_credit_returns_when_its_block_is_gone_and_not_when_it_is_taken() {
    two_shards(
        &library(demo(".wav")),
        |shard| {
            Box::pin(async move {
                for owner in [0, 1] {
                    let job = pcm(owned_by(ShardId(owner)));
                    let most = credits(&job);
                    let mut response = shard.request(job).await.unwrap();
                    while response.body.len() < most {
                        runtime::yield_now().await;
                    }
                    let taken = response.body.recv().await;
                    a_while().await;
                    assert_eq!(response.body.len(), most - 1, "one is still being written");
                    drop(taken);
                    while response.body.len() < most {
                        runtime::yield_now().await;
                    }
                }
            })
        },
        attends,
    );
}

#[test]
fn a_turn_whose_time_is_up_ends_with_the_next_packet() {
    two_shards(
        &library(demo("strings.mp3")),
        |shard| {
            Box::pin(async move {
                let source = owned_by(ShardId(0));
                let opened = shard.files.open(&source.name, &source.path).await.unwrap();
                let reader = || shard.reader(&opened.source).into();
                let maker = |reader| {
                    audio::Maker::new(reader, &shard.stacks, &shard.pool, decode::Ask::default())
                };
                let mut first = maker(reader()).unwrap();
                shard.work_first(&mut first).await.unwrap();
                let info = first.info().unwrap().clone();
                let (rate_hz, channels) = (info.rate_hz, info.channels.count);
                let (encoding, dither, quality) =
                    (decode::Encoding::S16le, Dither::None, Default::default());
                let spec = decode::Spec { rate_hz, channels, encoding, dither, quality };
                let mut maker = maker(reader()).unwrap();
                maker.start(&info, spec, 0, None).unwrap();
                let mut turns = 0;
                while !maker.is_done() {
                    let before = maker.position();
                    match maker.work(runtime::now()).unwrap() {
                        audio::Work::Starved => maker.fetch().await.unwrap(),
                        audio::Work::End => break,
                        _ => turns += 1,
                    }
                    // Two packets of MP3: one may have been left of the turn before.
                    assert!(maker.position() - before <= 2 * 1152, "{before}");
                }
                assert!(turns > 50, "{turns}");
            })
        },
        attends,
    );
}

#[test]
fn a_session_lasts_until_its_last_block_is_gone() {
    two_shards(
        &library(&[7; 100]),
        |shard| {
            Box::pin(async move {
                let mut response = shard.request(object(owned_by(ShardId(1)))).await.unwrap();
                let last = response.body.recv().await;
                drop(response);
                a_while().await;
                // Its slot and its place at the owner are kept, so that its credit has room.
                assert_eq!(shard.gate.inside(), 1);
                drop(last);
                until(&shard, |all| all.iter().all(|report| report.sessions_now == 0)).await;
            })
        },
        attends,
    );
}

#[test]
fn a_panic_on_another_shard_ends_that_response_and_no_other() {
    /// Sends a head and a block, and then something goes wrong.
    fn panics_once(shard: Rc<Shard>) -> Life {
        Box::pin(async move {
            let Some((front, Mail::Open(key, _))) = shard.mailbox.recv().await else {
                panic!("the first mail opens a session")
            };
            let poster = Rc::clone(&shard);
            let session = runtime::spawn(Queue::First, "session", async move {
                let (collapsed, age, ttl, origin) = Default::default();
                let found = Found { how: How::Hit, collapsed, age, ttl, origin };
                let head = ObjectHead {
                    status: 200,
                    fields: http::HeaderMap::new(),
                    redirected: None,
                    length: Some(10),
                    part: None,
                    unmodified: false,
                    cached: Cached { found, stored: true },
                };
                poster.post(front, Mail::Head(key, Box::new(Ok(Answer::Object(Box::new(head))))));
                let block = poster.pool.take(Class::Small).unwrap().freeze(5);
                poster.post(front, Mail::Block(key, block));
                panic!("on purpose");
            });
            shard.attend_session(front, key, Credits::new(1), session);
            shard.attend().await;
        })
    }
    two_shards(
        &library(&vec![7; 300_000]),
        |shard| {
            Box::pin(async move {
                let source = || owned_by(ShardId(1));
                let mut broken = shard.request(object(source())).await.unwrap();
                assert_eq!(body_bytes(&mut broken).await, (5, Some(Err(Abort::Failed))));
                drop(broken);
                let mut whole = shard.request(object(source())).await.unwrap();
                assert_eq!(body_bytes(&mut whole).await, (300_000, Some(Ok(()))));
            })
        },
        panics_once,
    );
}

#[test]
fn a_client_that_goes_away_stops_the_decoder_on_the_other_shard_and_no_other() {
    two_shards(
        &library(demo(".flac")),
        |shard| {
            Box::pin(async move {
                let source = || owned_by(ShardId(1));
                let mut whole = shard.request(pcm(source())).await.unwrap();
                let (bytes, end) = body_bytes(&mut whole).await;
                assert_eq!(end, Some(Ok(())));
                drop(whole);
                let mut stays = shard.request(pcm(source())).await.unwrap();
                let mut leaves = shard.request(pcm(source())).await.unwrap();
                let first = leaves.body.recv().await;
                until(&shard, |all| all[1].sessions_now == 2).await;
                drop((first, leaves));
                until(&shard, |all| all[1].sessions_now == 1).await;
                assert_eq!(body_bytes(&mut stays).await, (bytes, Some(Ok(()))));
            })
        },
        attends,
    );
}

#[test]
fn what_was_decoded_is_counted_also_where_the_client_leaves() {
    two_shards(
        &library(demo(".mp3")),
        |shard| {
            Box::pin(async move {
                let mut response = shard.request(pcm(owned_by(ShardId(1)))).await.unwrap();
                for _ in 0..40 {
                    response.body.recv().await;
                }
                drop(response);
                let all = until(&shard, |all| all[1].sessions_now == 0).await;
                assert!(all[1].stats.frames > 0);
            })
        },
        attends,
    );
}

#[test]
fn a_client_that_has_it_already_costs_no_decode() {
    two_shards(
        &library(demo(".flac")),
        |shard| {
            Box::pin(async move {
                let source = || owned_by(ShardId(0));
                let asked = |conditions, head_only| pcm_if(source(), conditions, head_only);
                let head = shard.request(asked(Conditions::default(), true)).await.unwrap();
                let Answer::Pcm(head) = head.answer else { panic!("it was asked for PCM") };
                let if_none_match = head.etag.clone();
                let has_it = Conditions { if_none_match, ..Conditions::default() };
                let answer = shard.request(asked(has_it, false)).await.unwrap().answer;
                assert!(matches!(answer, Answer::Pcm(head) if head.unmodified));
                let if_match = Some("\"another\"".to_owned());
                let wants_another = Conditions { if_match, ..Conditions::default() };
                let refused = shard.request(asked(wants_another, false)).await.err();
                assert!(matches!(refused, Some(Refusal::Precondition)));
                let all = until(&shard, |all| all[0].sessions_now == 0).await;
                assert_eq!(all[0].stats.sessions, [3, 0, 0, 0, 0, 0]);
                assert_eq!(all[0].stats.frames, 0);
            })
        },
        attends,
    );
}

#[test]
fn who_comes_too_late_is_refused_and_counted() {
    two_shards(
        &library(&[7; 100]),
        |shard| {
            Box::pin(async move {
                shard.gate.close();
                for owner in [0, 1] {
                    let refused = shard.request(object(owned_by(ShardId(owner)))).await.err();
                    assert!(matches!(refused, Some(Refusal::Draining)));
                }
                assert_eq!(shard.stats.borrow().refused.draining, 2);
            })
        },
        attends,
    );
}

#[test]
fn sessions_beyond_the_slots_of_a_pair_are_refused_and_counted() {
    two_shards(
        &library(&[7; 100]),
        |shard| {
            Box::pin(async move {
                let mut open = Vec::new();
                for _ in 0..mail::SESSIONS_PER_PAIR {
                    open.push(shard.request(object(owned_by(ShardId(1)))).await.unwrap());
                }
                let refused = shard.request(object(owned_by(ShardId(1)))).await.err();
                assert!(matches!(refused, Some(Refusal::Full)));
                assert_eq!(shard.stats.borrow().refused.slots, 1);
                drop(open);
                until(&shard, |all| all.iter().all(|report| report.sessions_now == 0)).await;
                shard.request(object(owned_by(ShardId(1)))).await.unwrap();
            })
        },
        attends,
    );
}

#[test]
fn a_body_that_lacks_memory_waits_for_it_and_is_whole() {
    two_shards(
        &library(demo(".flac")),
        |shard| {
            Box::pin(async move {
                let source = owned_by(ShardId(0));
                for job in [object(source.clone()), pcm(source.clone())] {
                    let whole = body_bytes(&mut shard.request(job.clone()).await.unwrap()).await;
                    assert_eq!(whole.1, Some(Ok(())));
                    let mut response = shard.request(job).await.unwrap();
                    let memory = shard.pool.stats();
                    let rest = memory.budget_bytes - memory.in_use_bytes();
                    let others = shard.pool.charge(rest).unwrap();
                    a_while().await;
                    assert!(shard.pool.stats().refused > memory.refused, "nothing was lacking");
                    drop(others);
                    assert_eq!(body_bytes(&mut response).await, whole);
                }
            })
        },
        attends,
    );
}

#[test]
fn decoders_whose_listeners_pause_make_room_and_are_made_again() {
    two_shards(
        &library(demo(".flac")),
        |shard| {
            Box::pin(async move {
                let source = owned_by(ShardId(0));
                let ask = |number: usize| {
                    let Job::Pcm(mut wanted) = pcm(source.clone()) else { panic!("it is PCM") };
                    wanted.ask.rate_hz = Some(audio::RATES_HZ[number % 14]);
                    wanted.ask.channels = Some(1 + (number / 14 % 8) as u16);
                    wanted.ask.dither = [Dither::None, Dither::Tpdf][number / 112];
                    Job::Pcm(wanted)
                };
                // There is room for a few, whose clients read no more for now than the first blocks.
                let one = promises::DECODER_BYTES + mail::PCM_CREDITS * Class::Large.bytes();
                let all = serve::promised_at_most(&shard.pool);
                let _others = shard.promises.give(all - 6 * one).unwrap();
                let mut held = Vec::new();
                let refusal = loop {
                    match shard.request(ask(held.len())).await {
                        Ok(response) => held.push(response),
                        Err(refusal) => break refusal,
                    }
                };
                assert!(matches!(refusal, Refusal::Full), "{refusal}");
                until(&shard, |all| all.iter().all(|report| report.decoders == 0)).await;
                let mut later = shard.request(ask(held.len())).await.unwrap();
                assert_eq!(body_bytes(&mut later).await.1, Some(Ok(())));
                let last = held.len() - 1;
                for number in [0, last] {
                    let mut whole = shard.request(ask(number)).await.unwrap();
                    let (whole, paused) = (body_bytes(&mut whole), body_bytes(&mut held[number]));
                    let whole = whole.await;
                    assert_eq!(whole.1, Some(Ok(())));
                    assert_eq!(paused.await, whole);
                }
            })
        },
        attends,
    );
}

#[test]
fn a_session_whose_memory_cannot_be_promised_is_refused_until_another_has_ended() {
    two_shards(
        &library(demo(".wav")),
        |shard| {
            Box::pin(async move {
                let (source, mut held) = (owned_by(ShardId(0)), Vec::new());
                let refusal = loop {
                    match shard.request(pcm(source.clone())).await {
                        Ok(response) => held.push(response),
                        Err(refusal) => break refusal,
                    }
                };
                assert!(matches!(refusal, Refusal::Full), "{refusal}");
                // All that they may come to hold is there for those that are in: one decoder, and what each
                // has under way.
                let answer = mail::PCM_CREDITS * Class::Large.bytes();
                let most = promises::DECODER_BYTES + held.len() * answer;
                let budget = shard.pool.stats().budget_bytes;
                assert!((budget / 2..budget).contains(&most), "{} sessions", held.len());
                drop(held.pop());
                while shard.request(pcm(source.clone())).await.is_err() {
                    runtime::yield_now().await;
                }
            })
        },
        attends,
    );
}
