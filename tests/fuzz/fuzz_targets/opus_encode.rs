//! Samples of any bits into Opus, in pieces of any length: it is encoded, and as long as it was.
#![no_main]

use kithara::encode::{Tags, opus::Encoder};
use kithara_fuzz::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let &[channels, rate, piece, ref pcm @ ..] = bytes else { return };
    let channels = 1 + u16::from(channels % 8);
    let bit_rate = 6_000 + u32::from(rate) * 1_976;
    let encoder = Encoder::new(48_000, channels, Some(bit_rate), 7, &Tags::default());
    let mut encoder = encoder.expect("1 to 8 channels");
    let (mut room, mut pulled) = ([0; 1000], 0);
    let mut pull = |encoder: &mut Encoder| {
        while let count @ 1.. = encoder.pull(&mut room) {
            pulled += count;
        }
    };
    for piece in pcm.chunks(1 + usize::from(piece) * 31) {
        encoder.push(piece);
        pull(&mut encoder);
    }
    encoder.finish();
    pull(&mut encoder);
    let packets = pcm.len() / (usize::from(channels) * 4) / 960 + 2;
    assert!(pulled > 47 && pulled < 400 + packets * 8 * 1300, "{pulled} bytes");
});
