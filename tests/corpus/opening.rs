//! What is known of a file before anything of it is decoded.

use kithara::decode::Error;

use crate::{
    hear::{Feed, WHOLE, hear, strings},
    ogg::in_ogg,
};

/// Bytes of the FLAC metadata block at `at`.
pub(crate) fn block_bytes(flac: &[u8], at: usize) -> usize {
    4 + (u32::from_be_bytes(flac[at..at + 4].try_into().unwrap()) & 0xFF_FFFF) as usize
}

#[test]
fn headers_say_what_a_track_is_without_a_packet() {
    for file in kithara::demo::FILES {
        let heard = hear(file.bytes, WHOLE, 0);
        assert_eq!((&heard.error, heard.decoded_to_open), (&None, 0), "{}", file.name);
        let info = heard.info.expect("opened");
        assert_eq!(usize::from(info.channels.count), heard.planes.len(), "{}", file.name);
        assert!(heard.decoded > 0);
    }
}

#[test]
fn flac_in_ogg_states_its_frames_where_the_end_comes_last() {
    let flac = strings("strings.flac");
    let native = hear(&flac, WHOLE, 0);
    for in_order in [false, true] {
        let heard = hear(&in_ogg(&flac), Feed { in_order, ..WHOLE }, 0);
        assert_eq!((heard.error, heard.undecoded), (None, 0));
        let info = heard.info.expect("opened");
        assert_eq!((info.container, info.codec), ("ogg", "flac"));
        assert_eq!(info.frames, native.info.as_ref().unwrap().frames, "in order: {in_order}");
        assert!(heard.planes == native.planes);
    }
}

/// The last page says how long Vorbis is, and whether another stream follows: it is not at hand.
#[test]
fn vorbis_promises_nothing_where_the_end_comes_last() {
    let vorbis = strings("strings.ogg");
    let heard = hear(&vorbis, Feed { in_order: true, ..WHOLE }, 0);
    assert_eq!(heard.info.expect("opened").frames, None);
    assert!(heard.planes == hear(&vorbis, WHOLE, 0).planes);
}

/// The frame of an MP3 that carries its tag, and where in it that stands.
fn tag_frame(bytes: &[u8]) -> (Vec<u8>, usize) {
    let is_tag = |four: &[u8]| four == b"Info" || four == b"Xing";
    let tag = bytes.windows(4).position(is_tag).expect("it has a tag");
    // Behind the header and the side information of stereo.
    let start = tag - 36;
    let next = bytes[tag..].windows(2).position(|two| two == &bytes[start..start + 2]);
    (bytes[start..tag + next.expect("frames follow")].to_vec(), 36)
}

#[test]
fn a_lone_tag_of_mp3_is_empty_if_it_says_so_and_else_damaged() {
    let (said, tag) = tag_frame(&strings("strings.mp3"));
    let mut empty = said.clone();
    empty[tag + 8..tag + 12].fill(0);
    let length = (empty.len() as u32).to_be_bytes();
    empty[tag + 12..tag + 16].copy_from_slice(&length);
    for in_order in [false, true] {
        let feed = Feed { in_order, ..WHOLE };
        let heard = hear(&empty, feed, 0);
        assert_eq!((heard.error, heard.frames_there), (None, Some(0)), "in order: {in_order}");
        let damaged = hear(&said, feed, 0);
        let is_damaged = matches!(damaged.error, Some(Error::Damaged { .. }));
        assert!(is_damaged, "in order: {in_order}: {:?}", damaged.error);
    }
}
