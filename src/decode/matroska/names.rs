//! What tracks are called, which symphonia's reader does not say.
//!
//! Pure: no I/O, no clock, no executor. Bytes come through [`Read`].

use super::{
    element::{TRACKS, before_clusters, children},
    times::{TRACK, TRACK_NUMBER, body_of, find},
};
use crate::decode::mp4::Read;

const NAME: u32 = 0x536E;
/// Bytes of a name that are kept.
const NAME_BYTES: usize = 256;

/// The numbers of the tracks that have a name, and their names, as far as they are said before the first
/// cluster.
pub(in crate::decode) fn names(read: &mut Read<'_>) -> Vec<(u64, String)> {
    let mut names = Vec::new();
    for (at, element) in before_clusters(read) {
        if element.id != TRACKS {
            continue;
        }
        let body = body_of(read, at, &element);
        let tracks = children(&body).filter(|(id, _)| *id == TRACK);
        names.extend(tracks.filter_map(|(_, place)| name(&body[place])));
    }
    names
}

fn name(track: &[u8]) -> Option<(u64, String)> {
    let (_, place) = children(track).find(|(id, _)| *id == NAME)?;
    let text = &track[place];
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len()).min(NAME_BYTES);
    let name = String::from_utf8_lossy(&text[..end]).trim().to_owned();
    Some((find(track, TRACK_NUMBER)?, name)).filter(|(_, name)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::mp4::tests::source;

    #[test]
    fn a_track_is_called_what_its_entry_says() {
        let one = b"\xAE\x8A\xD7\x81\x01\x53\x6E\x84Main";
        let other = b"\xAE\x83\xD7\x81\x02";
        let tracks = [b"\x16\x54\xAE\x6B\x90", &one[..], other].concat();
        let start = b"\x1A\x45\xDF\xA3\x82ab\x18\x53\x80\x67\xFF";
        let bytes = [&start[..], &tracks, b"\x1F\x43\xB6\x75\x80"].concat();
        assert_eq!(names(&mut source(&bytes)), [(1, "Main".to_owned())]);
    }
}
