//! What is known of a file before anything of it is decoded.

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
