//! The inside of a decoder's coroutine: packets to frames on the trimmed timeline.
//!
//! - `player`: what is decoded and what is passed, and where frames lie;
//! - `late`: a start in the middle;
//! - `damage`: what stands in the place of packets that are lost or do not decode;
//! - `ends`: of the track, and of the links of a chain;
//! - `stretches`: of a tape;
//! - `timed`: a start in the middle of one;
//! - `way`: of the frames of a link to their place on the timeline, and to what that is.

mod damage;
mod ends;
mod late;
mod player;
mod stretches;
mod timed;
mod way;

use std::rc::Rc;

use self::player::Player;
use super::{
    AudioTrack, Error, Info,
    decoder::Mode,
    demux::{Demux, Next},
    opening::{self, Opened, Timeline},
    shape::{Shape, shape_of_params},
    source::Inside,
};

/// Packets in a row that a reader may stumble over before the rest is given up.
const STUMBLES: u32 = 64;

/// What of a track is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Which audio track; the container's default if `None`.
    pub(super) track: Option<u32>,
    pub(super) from_frame: u64,
    pub(super) mode: Mode,
}

/// Reads and decodes the track to its end.
pub(super) fn run(inside: Rc<Inside<'_>>, wanted: Wanted) -> Result<(), Error> {
    let (mut opened, missing) = stretches::open_first(&inside, wanted.track)?;
    if let Demux::Empty = opened.demux {
        return announce_empty(&inside, &opened);
    }
    let mut player = Player::new(&inside, &opened, wanted)?;
    player.stamp = stretches::stamp(&inside, &mut opened).map(|stamp| (stamp, player.clock));
    player.state(&opened.demux);
    player.start_late(missing);
    player.record_link();
    player.enter_link(&inside, &mut opened, wanted.track)?;
    player.enter(&mut opened.demux);
    player.enter_by_time(&inside, &mut opened, wanted.track)?;
    let mut stumbles = 0;
    loop {
        match opened.demux.next() {
            Next::Piece(piece) => {
                stumbles = 0;
                if !player.play(&piece)? {
                    player.go_back(&mut opened.demux)?;
                }
            }
            Next::Lost(lost) => player.lose(lost)?,
            Next::Broken(why) => {
                stumbles += 1;
                player.miss(0, why);
                if stumbles > STUMBLES {
                    break;
                }
            }
            Next::Changed => {
                player.end_link()?;
                match opening::open_link(&inside, &mut opened, wanted.track)? {
                    true => player.start_link(&opened)?,
                    false => player.miss(0, "the headers of a link do not open"),
                }
            }
            Next::End => match player.next_stretch(&inside, wanted.track)? {
                Some(next) => {
                    opened = next;
                    player.start_link(&opened)?;
                    player.record_link();
                }
                None => break,
            },
        }
        if player.is_done() {
            break;
        }
        player.jump(&mut opened.demux);
    }
    player.finish()
}

/// Says what a file is that has headers and nothing else.
fn announce_empty(inside: &Inside<'_>, opened: &Opened<'_>) -> Result<(), Error> {
    let shape = shape_of_params(&opened.params, opened.codec)?;
    let shape = shape.ok_or(Error::damaged("there is no packet"))?;
    announce(inside, &Known::of(opened), shape, &opened.timeline);
    inside.desk.frames_there.set(Some(0));
    inside.desk.recording.borrow_mut().end(0);
    Ok(())
}

/// What is known of a track before its first packet decodes.
struct Known {
    container: &'static str,
    codec: &'static str,
    tags: Vec<(String, String)>,
    tracks: Vec<AudioTrack>,
}

impl Known {
    fn of(opened: &Opened<'_>) -> Self {
        let (tags, tracks) = (opened.tags.clone(), opened.tracks.clone());
        Self { container: opened.container.name(), codec: opened.codec, tags, tracks }
    }
}

fn announce(inside: &Inside<'_>, known: &Known, shape: Shape, timeline: &Timeline) {
    *inside.desk.info.borrow_mut() = Some(Info {
        container: known.container,
        codec: known.codec,
        rate_hz: shape.rate_hz,
        channels: shape.channels,
        sample: shape.sample,
        frames: timeline.frames,
        tags: known.tags.clone(),
        tracks: known.tracks.clone(),
    });
}
